//! Listens in the place of a mysqld that is stopped, and notes which members' receivers ask for it.
//!
//! A receiver that asks still follows this server: it was not frozen and has been told of nobody else. That is known
//! here without starting mysqld, whose start commits what nobody acknowledged. It is a sign and no proof, since nobody
//! shows a password; it must never be taken for one. The port is mysqld's: whoever starts that holds the door shut.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{MutexGuard, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::tls;

/// How long a caller may take to say who it is.
const CALL: Duration = Duration::from_secs(2);

/// How long ago a receiver that still asks has asked: it tries every second and may need one for it.
const RECENT: Duration = Duration::from_secs(3);

/// How many callers are listened to at once. Applications call as well.
const CALLERS: usize = 256;

/// The longest packet that a caller may begin with.
const LONGEST: usize = 4096;

/// Where the account's name begins: after capabilities, longest packet, character set and a filler.
const ACCOUNT: usize = 32;

/// The place where mysqld would be.
#[derive(Debug, Default)]
pub struct Door {
    listening: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    callers: Callers,
}

/// Which account called last when.
type Callers = Arc<Mutex<HashMap<String, Instant>>>;

impl Door {
    /// Begins to listen, unless it does, or mysqld runs, or is about to.
    pub async fn open(&self, config: &Config, mysqld_runs: impl Fn() -> bool) {
        let Ok(mut listening) = self.listening.try_lock() else { return };
        if listening.is_some() || mysqld_runs() {
            return;
        }
        let address = SocketAddr::new(config.bind, config.mysql_port);
        match begin(config, address, Arc::clone(&self.callers)).await {
            Ok(task) => *listening = Some(task),
            Err(why) => tracing::debug!(%address, "nobody listens in mysqld's place: {why:#}"),
        }
    }

    /// Ends it, and keeps it so for as long as the answer is held: the port is free.
    pub async fn shut(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        let mut listening = self.listening.lock().await;
        if let Some(task) = listening.take() {
            task.abort();
            // Aborted, as wanted.
            let _ = task.await;
        }
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        listening
    }

    /// How many of these accounts ask at this time.
    pub fn asking(&self, accounts: &[String]) -> usize {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.iter().filter(|account| callers.get(*account).is_some_and(|at| at.elapsed() <= RECENT)).count()
    }
}

async fn begin(config: &Config, address: SocketAddr, callers: Callers) -> anyhow::Result<JoinHandle<()>> {
    let acceptor = TlsAcceptor::from(tls::for_anybody(&config.tls)?);
    let listener = TcpListener::bind(address).await?;
    Ok(tokio::spawn(listen(listener, acceptor, callers)))
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, callers: Callers) {
    let places = Arc::new(Semaphore::new(CALLERS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (acceptor, callers) = (acceptor.clone(), Arc::clone(&callers));
        tokio::spawn(async move {
            if let Ok(Ok(account)) = tokio::time::timeout(CALL, account(stream, acceptor)).await {
                callers.lock().unwrap_or_else(PoisonError::into_inner).insert(account, Instant::now());
            }
            drop(place);
        });
    }
}

/// As whom somebody wants to log in. Receivers use TLS, and say it only within.
async fn account(mut stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<String> {
    stream.write_all(&greeting()).await?;
    let wish = packet(&mut stream).await?;
    if wish.len() != ACCOUNT {
        return Err(std::io::Error::other("it does not ask for TLS"));
    }
    let mut stream = acceptor.accept(stream).await?;
    let response = packet(&mut stream).await?;
    let name = response.get(ACCOUNT..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8(name.to_vec()).map_err(std::io::Error::other)
}

/// One packet of the client/server protocol: three bytes of length, one of sequence, and that much.
async fn packet(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32_le().await? & 0x00FF_FFFF;
    if length as usize > LONGEST {
        return Err(std::io::Error::other("a packet that is too long"));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// The first packet of a server, version 10 of the protocol. Its challenge is never used: nobody gets so far.
fn greeting() -> Vec<u8> {
    const PROTOCOL_41: u32 = 1 << 9;
    const SSL: u32 = 1 << 11;
    const SECURE_CONNECTION: u32 = 1 << 15;
    const PLUGIN_AUTH: u32 = 1 << 19;
    const LONG_PASSWORD_AND_FLAG: u32 = 1 | 1 << 2;
    const TRANSACTIONS: u32 = 1 << 13;
    const CHALLENGE: &[u8; 20] = b"grampus-is-not-open!";
    let can =
        (LONG_PASSWORD_AND_FLAG | PROTOCOL_41 | SSL | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH).to_le_bytes();
    let (first, rest) = CHALLENGE.split_at(8);
    let parts: [&[u8]; 14] = [
        &[10],
        b"8.4.0-grampus\0",
        &1_u32.to_le_bytes(),
        first,
        &[0],
        &can[..2],
        // utf8mb4, and a session that commits by itself.
        &[255],
        &2_u16.to_le_bytes(),
        &can[2..],
        &[CHALLENGE.len() as u8 + 1],
        &[0; 10],
        rest,
        &[0],
        b"caching_sha2_password\0",
    ];
    let body = parts.concat();
    let mut packet = (body.len() as u32).to_le_bytes().to_vec();
    // The fourth byte is the sequence number, which begins at zero.
    packet.extend(body);
    packet
}
