//! What the bytes of a client or an origin say, read with care: the measure for what the proxy
//! makes of them. It takes what RFC 9112 lets a recipient take, and stops at the first message
//! that two careful readers could understand differently.

/// A message's fields: names in lower case, values without the blanks around them, a character
/// for each byte.
pub type Fields = Vec<(String, String)>;

const BLANKS: [char; 2] = [' ', '\t'];

/// A request that can be read in one way only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The target as it was sent.
    pub target: Vec<u8>,
    /// Whether it is HTTP/1.0.
    pub old: bool,
    /// All fields.
    pub fields: Fields,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// What a client of HTTP/2 says first (RFC 9113 §3.4).
pub const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bytes end between two messages, or the connection was to end here.
    End,
    /// The bytes end within a message.
    Cut,
    /// What comes here is not HTTP, or is HTTP in two ways.
    Doubt(&'static str),
}

/// A client's requests, up to where reading stopped.
#[derive(Debug)]
pub struct Requests {
    /// Those that are whole.
    pub whole: Vec<Asked>,
    /// One whose head is whole and whose body is not.
    pub begun: Option<Asked>,
    /// Why there are no more.
    pub stop: Stop,
}

/// Reads all that a client sent on one connection.
pub fn requests(bytes: &[u8]) -> Requests {
    let mut reader = Reader { rest: bytes, of: Side::Client };
    let mut found = Requests { whole: Vec::new(), begun: None, stop: Stop::End };
    loop {
        let mut asked = Asked::default();
        let read = reader.request(&mut asked);
        match read {
            Ok(persists) => {
                found.whole.push(asked);
                if !persists {
                    return found;
                }
            }
            Err(stop) => {
                found.begun = (stop == Stop::Cut && !asked.fields.is_empty()).then_some(asked);
                found.stop = stop;
                return found;
            }
        }
    }
}

/// A response that can be read in one way only.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// The status, not an interim one.
    pub status: u16,
    /// All fields.
    pub fields: Fields,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether its end does not need the end of the connection.
    pub delimited: bool,
}

/// Reads what an origin sent in answer to one request, until the end of the connection.
pub fn response(bytes: &[u8], is_head: bool) -> Result<Answered, Stop> {
    let mut reader = Reader { rest: bytes, of: Side::Origin };
    loop {
        let status = reader.status_line()?;
        let fields = reader.fields()?;
        if status == 101 {
            return Err(Stop::Doubt("a switch that nobody asked for"));
        }
        if status < 200 {
            continue;
        }
        let mut answered = Answered { status, fields, delimited: true, ..Answered::default() };
        let framing = framing(&answered.fields)?;
        if matches!(framing, Framing::Both) {
            return Err(Stop::Doubt("a length and a coding"));
        }
        if is_head || matches!(status, 204 | 304) {
            return Ok(answered);
        }
        match framing {
            Framing::Length(length) => answered.body = reader.take(length)?.to_vec(),
            Framing::Chunked => reader.chunks(&mut answered.body)?,
            Framing::None | Framing::Both => {
                answered.body = std::mem::take(&mut reader.rest).to_vec();
                answered.delimited = false;
            }
        }
        return Ok(answered);
    }
}

/// The values of a field.
pub fn values<'a>(fields: &'a Fields, name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect()
}

/// The members of a field that is a list, in lower case.
pub fn options(fields: &Fields, name: &str) -> Vec<String> {
    let lines = values(fields, name);
    let members = lines.iter().flat_map(|line| line.split(','));
    members.map(|member| member.trim_matches(BLANKS).to_ascii_lowercase()).collect()
}

/// Bytes as text, a character for each, so that nothing is lost.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

enum Framing {
    None,
    Length(usize),
    Chunked,
    /// A coding beside a length, which the coding overrides (RFC 9112 §6.1).
    Both,
}

/// RFC 9112 §6.3.
fn framing(fields: &Fields) -> Result<Framing, Stop> {
    let mut length = None;
    for value in values(fields, "content-length").into_iter().flat_map(|value| value.split(',')) {
        let digits = value.trim_matches(BLANKS);
        let number =
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok());
        let number = number.flatten();
        let number = number.ok_or(Stop::Doubt("a length that is no number"))?;
        if length.is_some_and(|length| length != number) {
            return Err(Stop::Doubt("two lengths"));
        }
        length = Some(number);
    }
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    match (&*values(fields, "transfer-encoding"), length) {
        ([], None) => Ok(Framing::None),
        ([], Some(length)) => Ok(Framing::Length(length)),
        ([coding], length) if coding.eq_ignore_ascii_case("chunked") => {
            Ok(if length.is_some() { Framing::Both } else { Framing::Chunked })
        }
        _ => Err(Stop::Doubt("a coding other than chunked")),
    }
}

/// Whose bytes are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Origin,
}

struct Reader<'a> {
    rest: &'a [u8],
    of: Side,
}

impl<'a> Reader<'a> {
    /// Reads one request into `asked`; whether another may follow it.
    fn request(&mut self, asked: &mut Asked) -> Result<bool, Stop> {
        // HTTP/2 begins where its connection does. Later it is no request, and whoever knows the words
        // expects no answer of HTTP/1: the connection ends.
        if self.rest.starts_with(HTTP2) {
            return Err(Stop::End);
        }
        let line = self.start_line()?;
        if !self.has_head() {
            return Err(Stop::Cut);
        }
        let [method, target, version] = line.split(|&byte| byte == b' ').collect::<Vec<_>>()[..]
        else {
            return Err(Stop::Doubt("a request line that is not three words"));
        };
        asked.old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Stop::Doubt("a version")),
        };
        if method.is_empty() || !method.iter().copied().all(is_token) {
            return Err(Stop::Doubt("a method that is no token"));
        }
        if target.is_empty() || target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
            return Err(Stop::Doubt("a target that is none"));
        }
        asked.method = text(method);
        asked.target = target.to_vec();
        asked.fields = self.fields()?;
        host(asked)?;
        let framing = framing(&asked.fields)?;
        if asked.old && matches!(framing, Framing::Chunked | Framing::Both) {
            return Err(Stop::Doubt("a coding in HTTP/1.0"));
        }
        let mut body = Vec::new();
        let persists = persists(asked) && !matches!(framing, Framing::Both);
        match framing {
            Framing::None => {}
            Framing::Length(length) => body = self.take(length)?.to_vec(),
            Framing::Chunked | Framing::Both => self.chunks(&mut body)?,
        }
        asked.body = body;
        Ok(persists)
    }

    /// A request or status line; empty lines before it don't count (RFC 9112 §2.2 says so of
    /// requests, and of responses it is the habit).
    fn start_line(&mut self) -> Result<&'a [u8], Stop> {
        loop {
            if self.rest.is_empty() {
                return Err(Stop::End);
            }
            let line = self.line()?;
            if !line.is_empty() {
                return Ok(line);
            }
        }
    }

    /// Whether the empty line that ends a head is there. Until it is, what a head says is nobody's
    /// business: the connection may end with an answer or without one.
    fn has_head(&self) -> bool {
        let mut lines = self.rest.split_inclusive(|&byte| byte == b'\n');
        lines.any(|line| matches!(line, b"\n" | b"\r\n"))
    }

    fn status_line(&mut self) -> Result<u16, Stop> {
        let line = self.start_line()?;
        let rest = line.strip_prefix(b"HTTP/1.1").or_else(|| line.strip_prefix(b"HTTP/1.0"));
        let code = rest.and_then(|rest| rest.strip_prefix(b" ")).and_then(|rest| rest.get(..3));
        let code = code.filter(|code| code.iter().all(u8::is_ascii_digit));
        let code = code.and_then(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok());
        let after = line.get(12);
        match code {
            Some(code @ 100..) if matches!(after, None | Some(b' ')) => Ok(code),
            _ => Err(Stop::Doubt("a status line")),
        }
    }

    fn fields(&mut self) -> Result<Fields, Stop> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let colon = line.iter().position(|&byte| byte == b':');
            let Some(colon) = colon else { return Err(Stop::Doubt("a field without a colon")) };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if name.is_empty() || !name.iter().copied().all(is_token) {
                return Err(Stop::Doubt("a field name that is no token"));
            }
            let control = |byte: &u8| matches!(byte, 0..=8 | 10..=31 | 127);
            if value.iter().any(control) {
                return Err(Stop::Doubt("a control byte in a field"));
            }
            fields.push((text(name).to_ascii_lowercase(), text(blank_free(value))));
        }
    }

    /// A line; its end may be a bare LF (RFC 9112 §2.2).
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
            return Err(Stop::Cut);
        };
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&b'\r') { Err(Stop::Doubt("a bare CR")) } else { Ok(line) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Stop::Cut)?;
        self.rest = rest;
        Ok(taken)
    }

    /// RFC 9112 §7.1; here a bare LF ends no line.
    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            let size = self.chunk_size()?;
            if size == 0 {
                self.trailers()?;
                return Ok(());
            }
            body.extend_from_slice(self.take(size)?);
            match self.rest {
                [b'\r', b'\n', ..] => self.rest = &self.rest[2..],
                [] | [b'\r'] => return Err(Stop::Cut),
                _ => return Err(Stop::Doubt("a chunk longer than its size")),
            }
        }
    }

    fn chunk_size(&mut self) -> Result<usize, Stop> {
        let line = self.strict_line()?;
        let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let (digits, extension) = line.split_at(end);
        let extension = blank_free(extension);
        if !extension.is_empty() && extension[0] != b';' {
            return Err(Stop::Doubt("a chunk size with something behind it"));
        }
        // One hop's own: those of an origin go no further, whatever they are.
        if self.of == Side::Client && extension.contains(&0) {
            return Err(Stop::Doubt("a NUL in an extension"));
        }
        let digits = text(digits);
        usize::from_str_radix(&digits, 16).map_err(|_| Stop::Doubt("a chunk size"))
    }

    fn strict_line(&mut self) -> Result<&'a [u8], Stop> {
        let before = self.rest;
        let line = self.line()?;
        let bare = before.get(line.len()) == Some(&b'\n');
        if bare { Err(Stop::Doubt("a bare LF in a chunked body")) } else { Ok(line) }
    }

    fn trailers(&mut self) -> Result<(), Stop> {
        self.fields().map(drop)
    }
}

/// Exactly one `Host` that is a host (RFC 9112 §3.2); HTTP/1.0 may have none. An authority in the
/// target stands in its place.
fn host(asked: &Asked) -> Result<(), Stop> {
    let replaced = !asked.target.starts_with(b"/");
    match &*values(&asked.fields, "host") {
        [] if asked.old => Ok(()),
        [host] if replaced || super::reference::host(host.as_bytes()).is_some() => Ok(()),
        _ => Err(Stop::Doubt("a Host that is not one")),
    }
}

fn persists(asked: &Asked) -> bool {
    let options = options(&asked.fields, "connection");
    let has = |name: &str| options.iter().any(|option| option == name);
    !has("close") && (!asked.old || has("keep-alive"))
}

fn blank_free(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
