//! HTTP/1.1 messages as both test ends read them: strictly, because what a lenient reader forgives
//! is what request smuggling is made of.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Fields beyond which a message is an attack.
const MANY: usize = 10_000;

/// Field lines in the order and spelling in which they came.
pub type Fields = Vec<(String, String)>;

/// The first value of `name`, in any case.
pub fn find<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

/// Why a message could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ended (closed or reset) where more had to come.
    Cut,
    /// What came is not HTTP, or could be read in two ways.
    Bad(String),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

/// A byte stream, cleartext or TLS.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Io for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Io for tokio_rustls::server::TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Io for tokio_rustls::client::TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// One side of a connection.
pub struct Wire {
    io: BufReader<Box<dyn Io>>,
    /// Trailers of the last chunked body.
    pub trailers: Fields,
}

impl Wire {
    pub fn new(io: impl Io + 'static) -> Self {
        Self { io: BufReader::new(Box::new(io)), trailers: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.get_mut().write_all(bytes).await?;
        self.io.get_mut().flush().await
    }

    /// Ends the sending side (FIN).
    pub async fn finish(&mut self) -> io::Result<()> {
        self.io.get_mut().shutdown().await
    }

    /// Ends the connection at once (RST).
    pub fn reset(self) {
        // Fails only on a socket that is gone already.
        let _ = SockRef::from(self.io.get_ref().socket()).set_linger(Some(Duration::ZERO));
    }

    /// Makes the kernel take little before writes block, so that a slow reader is felt soon.
    pub fn shrink_receive_buffer(&self) {
        let _ = SockRef::from(self.io.get_ref().socket()).set_recv_buffer_size(64 * 1024);
    }

    /// The next bytes as they come, outside any message (tunnels, raw scripts); empty at the end.
    pub async fn some(&mut self) -> io::Result<Vec<u8>> {
        let bytes = self.io.fill_buf().await?.to_vec();
        self.io.consume(bytes.len());
        Ok(bytes)
    }

    /// Start line and fields; `None` if the connection ended before the first byte.
    pub async fn head(&mut self) -> Result<Option<(String, Fields)>, Fault> {
        if self.io.fill_buf().await?.is_empty() {
            return Ok(None);
        }
        let start = self.line().await?;
        Ok(Some((start, self.fields().await?)))
    }

    async fn fields(&mut self) -> Result<Fields, Fault> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(Fault::Bad(format!("a field without a colon: {line:?}")));
            };
            if name.is_empty() || !name.bytes().all(is_token_byte) {
                return Err(Fault::Bad(format!("a field name that is no token: {name:?}")));
            }
            if fields.len() == MANY {
                return Err(Fault::Bad("fields without end".to_owned()));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    async fn line(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        self.io.read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            return Err(Fault::Cut);
        }
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(Fault::Bad("a line that ends in a bare LF".to_owned()));
        };
        if line.iter().any(|&byte| byte == b'\r' || byte == 0) {
            return Err(Fault::Bad("a bare CR or NUL".to_owned()));
        }
        // Field values may hold any byte above 0x7f; tests compare what is ASCII.
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    /// The next piece of a body; `None` when it is complete.
    pub async fn piece(&mut self, framing: &mut Framing) -> Result<Option<Vec<u8>>, Fault> {
        match framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let buffered = self.io.fill_buf().await?;
                let take = buffered.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let bytes = buffered[..take].to_vec();
                self.io.consume(take);
                *left -= take as u64;
                if take == 0 { Err(Fault::Cut) } else { Ok(Some(bytes)) }
            }
            Framing::Chunked => self.chunk().await,
            Framing::Close => {
                let bytes = self.some().await?;
                Ok((!bytes.is_empty()).then_some(bytes))
            }
        }
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let line = self.line().await?;
        let digits = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| digits);
        let Some(size) = size else { return Err(Fault::Bad(format!("chunk size {line:?}"))) };
        if size == 0 {
            self.trailers = self.fields().await?;
            return Ok(None);
        }
        let mut bytes = vec![0; size];
        self.io.read_exact(&mut bytes).await?;
        match self.line().await?.as_str() {
            "" => Ok(Some(bytes)),
            excess => Err(Fault::Bad(format!("a chunk longer than its size: {excess:?}"))),
        }
    }
}

/// The framing that `fields` announce; `None` where they announce none.
pub fn framing(fields: &Fields) -> Result<Option<Framing>, Fault> {
    let values = |name: &str| {
        let same = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        fields.iter().filter(same).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    match (&*values("transfer-encoding"), &*values("content-length")) {
        ([], []) => Ok(None),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
        ([], [length]) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = length.parse().map_err(|_| Fault::Bad("an empty length".to_owned()))?;
            Ok(Some(Framing::Length(length)))
        }
        (codings, lengths) => Err(Fault::Bad(format!("framed by {codings:?} and {lengths:?}"))),
    }
}

pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
