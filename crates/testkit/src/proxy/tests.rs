//! Before a service that answers bit by bit.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::{Proxy, Trouble};

/// An event of this text, as AWS frames it as far as its length goes.
fn event(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 4).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Answers a call with these chunks, each once the one before was `heard`, and says how that went.
async fn serve(listener: TcpListener, chunks: Vec<Vec<u8>>, heard: Arc<Notify>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 1024];
    assert!(stream.read(&mut request).await.unwrap() > 0, "a call comes");
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    for chunk in chunks {
        let framed = [format!("{:X}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat();
        stream.write_all(&framed).await.unwrap();
        heard.notified().await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap_err();
}

/// What a client hears that says of each chunk that it was heard, and whether that came to an end.
async fn ask(chunks: Vec<Vec<u8>>, trouble: Option<Trouble>) -> (String, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (server, heard) = (listener.local_addr().unwrap(), Arc::new(Notify::new()));
    let proxy = Proxy::start(server, move |_| trouble.clone()).await;
    let service = tokio::spawn(serve(listener, chunks, Arc::clone(&heard)));
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    let (mut all, mut told) = (Vec::new(), 0);
    loop {
        let count = client.read_buf(&mut all).await.unwrap();
        let text = String::from_utf8_lossy(&all).into_owned();
        let chunks = text.matches("<end>").count();
        while told < chunks {
            heard.notify_one();
            told += 1;
        }
        if count == 0 {
            service.abort();
            return (text.clone(), text.ends_with("0\r\n\r\n"));
        }
    }
}

#[tokio::test]
async fn what_comes_in_chunks_is_passed_on_as_it_comes() {
    let (text, ended) = ask(vec![b"one<end>".to_vec(), b"two<end>".to_vec()], None).await;
    assert!(ended && text.contains("one<end>") && text.contains("two<end>"), "{text}");
}

#[tokio::test]
async fn a_stream_is_cut_between_two_events() {
    let (one, two, three) = (event("one<end>"), event("two<end>"), event("three<end>"));
    let (half, rest) = two.split_at(6);
    let chunks = vec![[&one, half].concat(), [rest, &three].concat(), event("four<end>")];
    let (text, ended) = ask(chunks, Some(Trouble::CutAfter(2))).await;
    assert!(!ended && text.contains("two<end>") && !text.contains("three"), "{text}");
}
