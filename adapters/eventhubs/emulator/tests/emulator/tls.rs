//! TLS by certificate files, and where plaintext is refused.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use fe2o3_amqp::{Connection, sasl_profile::SaslProfile};
use strait_eventhubs_emulator::{Config, Emulator, StartError, Tls};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::client::{TIMEOUT, emulator};

#[tokio::test]
async fn a_certificate_from_files_is_served() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator/tls"); // of a key that nothing else uses
    let files = Tls { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
    let emulator = emulator(Config { tls: Some(files), ..Config::default() }).await;
    assert!(!emulator.connection_string("orders").contains("UseDevelopmentEmulator"));

    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(emulator.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = timeout(TIMEOUT, TlsConnector::from(Arc::new(client)).connect(name, socket)).await.unwrap().unwrap();
    let mut connection = Connection::builder()
        .container_id("test")
        .hostname("localhost")
        .scheme("amqp") // the stream is encrypted already
        .sasl_profile(SaslProfile::Anonymous)
        .open_with_stream(stream)
        .await
        .unwrap();
    connection.close().await.unwrap();
    emulator.shutdown().await;
}

#[tokio::test]
async fn files_without_a_certificate_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let files = Tls { certificate: folder.path().join("chain.pem"), key: folder.path().join("key.pem") };
    let refused = Emulator::start(Config { tls: Some(files.clone()), ..Config::default() }).await.unwrap_err();
    assert!(refused.to_string().contains("chain.pem"), "{refused}");
    fs::write(&files.certificate, "rubbish").unwrap();
    fs::write(&files.key, "rubbish").unwrap();
    let refused = Emulator::start(Config { tls: Some(files), ..Config::default() }).await.unwrap_err();
    assert!(matches!(refused, StartError::Tls(_)), "{refused}");
}

#[tokio::test]
async fn plaintext_is_served_on_loopback_only_unless_told() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Emulator::start(Config { listen: everywhere, ..Config::default() }).await.unwrap_err();
    assert!(matches!(refused, StartError::Plaintext(address) if address == everywhere));
    let refused = Emulator::start(Config { control: Some(everywhere), ..Config::default() }).await.unwrap_err();
    assert!(matches!(refused, StartError::Plaintext(address) if address == everywhere));
    let told = Config { listen: everywhere, plaintext_anywhere: true, ..Config::default() };
    Emulator::start(told).await.unwrap().shutdown().await;
}
