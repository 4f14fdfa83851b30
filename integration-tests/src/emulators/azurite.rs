use std::{net::SocketAddr, sync::OnceLock};

use strait_emulators::Emulator;

use super::{Place, find, fresh, http};

/// Azurite: Azure's blobs.
#[derive(Clone, Copy, Debug)]
pub struct Azurite {
    address: SocketAddr,
}

impl Azurite {
    /// The account that every Azurite has.
    pub const ACCOUNT: &str = "devstoreaccount1";

    /// The key of that account, as Microsoft documents it: no secret.
    pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// A permission, signed by that key, to make containers until 2099.
    const PERMISSION: &str = "sv=2020-12-06&ss=b&srt=c&sp=rwdlc&se=2099-01-01T00%3A00%3A00Z&sig=APeg521rkSq7Fpja4lCNta8yUtGe%2FMavohbFgctDKXI%3D";

    /// The one of this run.
    pub fn get() -> Self {
        static ONCE: OnceLock<Place> = OnceLock::new();
        Self { address: find(Emulator::Azurite, &ONCE) }
    }

    /// Where it listens.
    pub fn address(self) -> SocketAddr {
        self.address
    }

    /// Where its account is, if it were at `address`: that of a proxy, perhaps.
    pub fn endpoint(address: SocketAddr) -> String {
        format!("http://{address}/{}", Self::ACCOUNT)
    }

    /// Makes a container.
    pub fn container(self) -> String {
        let name = fresh("container");
        let path = format!("/{}/{name}?restype=container&{}", Self::ACCOUNT, Self::PERMISSION);
        http::create(self.address, &path, "x-ms-version: 2020-12-06\r\n", "");
        name
    }
}
