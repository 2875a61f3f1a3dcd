//! The origins: raw sockets that answer as planned, and misbehave on the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::World;
use super::answers::{Answer, Asked, EXCESS, Fault};
use super::content::hash;
use super::site::{Place, Resource};
use crate::support::{Framing, Reader, Unreadable, find, framing};

/// How an origin's silence ends at the latest, if the proxy does not end it.
const SILENCE: Duration = Duration::from_secs(10);

/// What nobody asked for.
const SURPLUS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Length,
    Chunked,
    Close,
}

pub async fn bind(address: SocketAddr) -> TcpListener {
    let listen = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    for _ in 0..100 {
        if let Ok(listener) = listen() {
            return listener;
        }
        pause(Duration::from_millis(20)).await;
    }
    panic!("{address} can't be listened on");
}

/// An origin that refuses connections now and then.
pub async fn run(world: Arc<World>, origin: u8, mut listener: TcpListener) {
    let address = listener.local_addr().expect("bound");
    let mut rng = SmallRng::seed_from_u64(hash(&(world.seed, "origin", origin)));
    let mut connections = JoinSet::new();
    loop {
        let outage = pause(Duration::from_millis(rng.random_range(2000..8000)));
        tokio::pin!(outage);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("descriptors are left");
                    connections.spawn(serve(Arc::clone(&world), origin, stream));
                }
                Some(ended) = connections.join_next() => ended.expect("no panic"),
                () = &mut outage => break,
            }
        }
        drop(listener);
        world.ledger.count("faults", "Refused");
        world.ledger.outage(origin);
        pause(Duration::from_millis(rng.random_range(50..400))).await;
        world.ledger.outage(origin);
        listener = bind(address).await;
    }
}

/// Lets time pass. That is what a slow peer is made of; nothing here waits for an outcome so.
pub async fn pause(duration: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + duration).await;
}

async fn serve(world: Arc<World>, origin: u8, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut wire = Reader::new(stream);
    loop {
        let (line, fields) = match wire.head().await {
            Ok(Some(head)) => head,
            Ok(None) | Err(Unreadable::Cut) => return,
            Err(Unreadable::Bad(what)) => {
                return world.ledger.violation(format!("origin {origin} was sent {what}"));
            }
        };
        let Some(asked) = parse(&line, fields) else {
            return world.ledger.violation(format!("origin {origin} was sent {line:?}"));
        };
        if asked.place.resource.origin != origin {
            return world.ledger.violation(format!("origin {origin} was asked {asked:?}"));
        }
        if !receive(&world, &mut wire, &asked).await {
            return;
        }
        match answer(&world, wire, &asked).await {
            Some(kept) => wire = kept,
            None => return,
        }
    }
}

fn parse(line: &str, fields: Vec<(String, String)>) -> Option<Asked> {
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let resource = Resource::parse(target)?;
    let id = find(&fields, "chaos-request")?.parse().ok()?;
    let tls = find(&fields, "x-forwarded-proto")? == "https";
    Some(Asked { id, method, place: Place { resource, tls }, fields })
}

/// Reads a request's body, whose bytes follow from its token; whether all of it came.
async fn receive(world: &World, wire: &mut Reader, asked: &Asked) -> bool {
    let mut framing = match framing(&asked.fields) {
        Ok(framing) => framing.unwrap_or(Framing::Length(0)),
        Err(fault) => {
            world.ledger.violation(format!("an origin was sent {fault:?}: {asked:?}"));
            return false;
        }
    };
    let token = asked.field("chaos-token");
    if let Some(token) = token {
        let times = world.ledger.execute(token);
        if times > 1 {
            world.ledger.violation(format!("{token} was sent {times} times: {asked:?}"));
        }
    }
    let mut read = Vec::new();
    loop {
        match wire.piece(&mut framing).await {
            Ok(Some(piece)) => read.extend(piece),
            Ok(None) => break,
            Err(Unreadable::Cut) => return false,
            Err(Unreadable::Bad(what)) => {
                world.ledger.violation(format!("an origin was sent {what}: {asked:?}"));
                return false;
            }
        }
    }
    let content = token.map(super::client::upload);
    let right = content.is_none_or(|content| {
        read.len() as u64 == content.length && content.differs(0, &read).is_none()
    });
    world.ledger.count("checks", "request bodies at origins");
    if !right || (token.is_none() && !read.is_empty()) {
        world.ledger.violation(format!("an origin was sent a wrong body: {asked:?}"));
    }
    right
}

/// Answers; the connection, if it can serve another request.
async fn answer(world: &Arc<World>, wire: Reader, asked: &Asked) -> Option<Reader> {
    let attempt = world.attempt(asked.id);
    let mut rng = SmallRng::seed_from_u64(hash(&(world.seed, "answer", asked.id, attempt)));
    let resource = asked.place.resource;
    let stormy = world.storms[usize::from(resource.origin)].load(Ordering::Relaxed);
    let mut fault = Fault::random(&mut rng, stormy);
    if asked.field("chaos-token").is_some() && rng.random_bool(0.1) {
        // What tempts a proxy to send a request again, where it must not.
        fault = Some(Fault::CloseBeforeHead);
    }
    world.ledger.count("origin requests", asked.method.clone());
    if let Some(fault) = fault {
        world.ledger.count("faults", format!("{fault:?}"));
        world.ledger.fault(resource, fault.outlives());
    }
    if rng.random_bool(0.05) || !matches!(&*asked.method, "GET" | "HEAD") {
        world.ledger.advance(resource);
    }
    let mut version = world.ledger.version(resource);
    let lies = match fault {
        Some(Fault::WrongValidator) => asked.field("if-none-match").is_some(),
        Some(Fault::WrongPart) => asked.field("if-range").is_some(),
        _ => false,
    };
    if lies {
        // Of no version that there is.
        version += 1_000_000;
    }
    let answer = asked.answer(&mut rng, version, fault);
    if let Some(fault) = fault.filter(|fault| fault.precedes_head()) {
        without_head(fault, wire).await;
        world.ledger.fault(resource, false);
        return None;
    }
    if fault == Some(Fault::SlowStart) {
        pause(Duration::from_millis(rng.random_range(20..400))).await;
    }
    send(world, wire, asked, answer, fault, &mut rng).await
}

async fn without_head(fault: Fault, mut wire: Reader) {
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=99\r\nContent-Le";
    match fault {
        Fault::ResetBeforeHead => return wire.reset(),
        Fault::CutHead => _ = wire.send(HALF).await,
        Fault::ResetHead => {
            let _ = wire.send(HALF).await;
            return wire.reset();
        }
        Fault::SilentBeforeHead => return silence(&mut wire).await,
        Fault::Garbage => _ = wire.send(b"<html>hello</html>\r\n\r\n").await,
        Fault::TwoLengths => {
            let two = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
            let _ = wire.send(two).await;
        }
        Fault::HugeHead => {
            let head = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(140 * 1024));
            let _ = wire.send(head.as_bytes()).await;
        }
        _ => {}
    }
    let _ = wire.finish().await;
}

/// Says nothing more until the proxy has had enough.
async fn silence(wire: &mut Reader) {
    let ended = async { while wire.some().await.is_ok_and(|bytes| !bytes.is_empty()) {} };
    let _ = tokio::time::timeout(SILENCE, ended).await;
}

async fn send(
    world: &Arc<World>,
    mut wire: Reader,
    asked: &Asked,
    mut answer: Answer,
    fault: Option<Fault>,
    rng: &mut SmallRng,
) -> Option<Reader> {
    let status = answer.emission.status;
    let bodiless = asked.method == "HEAD" || status == 304;
    let length = answer.range.end - answer.range.start;
    let cuts = |fault: &Fault| fault.cuts_body() && !bodiless && length > 0;
    let cut = fault.filter(cuts);
    answer.emission.cut = cut.is_some();
    let style = match cut {
        Some(Fault::BadChunk) => Style::Chunked,
        Some(Fault::LongLength) => Style::Length,
        // A body that ends with its connection shows neither a plain cut nor a surplus.
        _ => match rng.random_range(0..10) {
            0 if cut.is_none() && fault != Some(Fault::Surplus) => Style::Close,
            0..4 => Style::Chunked,
            _ => Style::Length,
        },
    };
    let resource = asked.place.resource;
    let serial = world.ledger.emit(answer.emission.clone());
    if fault == Some(Fault::Interim) {
        let many = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(rng.random_range(1..4));
        wire.send(many.as_bytes()).await.ok()?;
    }
    let mut head = head(world, asked, &answer, serial, style, (bodiless, cut)).into_bytes();
    if fault == Some(Fault::Surplus) {
        // With the response's last bytes: what comes later may as well come after the next request
        // was sent, and then nobody can tell.
        if !bodiless {
            head.extend(match style {
                Style::Chunked => chunk(&answer),
                _ => answer.emission.representation.content().bytes(answer.range),
            });
        }
        head.extend(SURPLUS);
        let _ = wire.send(&head).await;
        silence(&mut wire).await;
        return None;
    }
    wire.send(&head).await.ok()?;
    if !bodiless {
        wire = body(wire, &answer, style, cut, fault, rng).await?;
        if cut.is_some() {
            world.ledger.fault(resource, false);
            return None;
        }
    }
    match fault {
        Some(Fault::CloseAfter) => {}
        _ if style != Style::Close || bodiless => return Some(wire),
        _ => {}
    }
    let _ = wire.finish().await;
    None
}

/// All of the body as one chunk.
fn chunk(answer: &Answer) -> Vec<u8> {
    let bytes = answer.emission.representation.content().bytes(answer.range.clone());
    let size = if bytes.is_empty() { String::new() } else { format!("{:x}\r\n", bytes.len()) };
    let end = if bytes.is_empty() { "0\r\n\r\n" } else { "\r\n0\r\n\r\n" };
    [size.as_bytes(), &bytes, end.as_bytes()].concat()
}

fn head(
    world: &World,
    asked: &Asked,
    answer: &Answer,
    serial: u64,
    style: Style,
    (bodiless, cut): (bool, Option<Fault>),
) -> String {
    let status = answer.emission.status;
    let date = crate::support::http_date(world.ledger.now());
    let mut lines = vec![
        format!("HTTP/1.1 {status} Chaos"),
        format!("Chaos-Serial: {serial}"),
        format!("Date: {date}"),
    ];
    lines.extend(answer.fields.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend(asked.field("chaos-token").map(|token| format!("Chaos-Token: {token}")));
    let length = answer.range.end - answer.range.start;
    match style {
        _ if status == 304 => {}
        Style::Length => {
            let excess = if cut == Some(Fault::LongLength) { EXCESS } else { 0 };
            lines.push(format!("Content-Length: {}", length + excess));
        }
        Style::Chunked => lines.push("Transfer-Encoding: chunked".to_owned()),
        Style::Close if bodiless => {}
        Style::Close => lines.push("Connection: close".to_owned()),
    }
    lines.join("\r\n") + "\r\n\r\n"
}

/// Sends the body, or as much of it as the fault lets through; the connection, if it is there.
async fn body(
    mut wire: Reader,
    answer: &Answer,
    style: Style,
    cut: Option<Fault>,
    fault: Option<Fault>,
    rng: &mut SmallRng,
) -> Option<Reader> {
    let content = answer.emission.representation.content();
    let mut at = answer.range.start;
    let end = match cut {
        None | Some(Fault::LongLength) => answer.range.end,
        Some(_) => rng.random_range(at..answer.range.end),
    };
    let length = end - at;
    let drips = fault == Some(Fault::Drip);
    let most = if drips { (length / 16).max(1) } else { 32 * 1024 };
    while at < end {
        let next = (at + rng.random_range(most / 2..=most).max(1)).min(end);
        let bytes = content.bytes(at..next);
        if style == Style::Chunked {
            let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
            wire.send(&chunk).await.ok()?;
        } else {
            wire.send(&bytes).await.ok()?;
        }
        at = next;
        if drips || (fault == Some(Fault::PauseInBody) && rng.random_bool(0.3)) {
            pause(Duration::from_millis(rng.random_range(1..if drips { 25 } else { 300 }))).await;
        }
    }
    match cut {
        None if style == Style::Chunked => {
            let trailer = if rng.random_bool(0.2) { "Chaos-Trailer: 1\r\n" } else { "" };
            wire.send(format!("0\r\n{trailer}\r\n").as_bytes()).await.ok()?;
        }
        None => {}
        Some(Fault::ResetBody) => {
            wire.reset();
            return None;
        }
        Some(Fault::SilentBody) => {
            silence(&mut wire).await;
            return None;
        }
        Some(fault) => {
            if fault == Fault::BadChunk {
                let _ = wire.send(b"zz\r\nno chunk\r\n").await;
            }
            let _ = wire.finish().await;
            return None;
        }
    }
    Some(wire)
}
