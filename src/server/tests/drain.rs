//! The end: what is under way is finished, what is queued is served, the rest is cut.

use std::sync::mpsc;

use tokio::sync::watch;
use tower::service_fn;

use super::*;

/// A stack that tells of each request and answers when released.
fn held()
-> (impl Fn(Request) -> Held + Clone + Send + Sync, mpsc::Receiver<()>, watch::Sender<bool>) {
    let (arrived, arrivals) = mpsc::channel();
    let (release, wait) = watch::channel(false);
    let stack = move |_: Request| {
        let (arrived, mut wait) = (arrived.clone(), wait.clone());
        Box::pin(async move {
            let _ = arrived.send(());
            let _ = wait.wait_for(|&released| released).await;
            // The connection is polled again, and sees a drain that began before the release.
            tokio::task::yield_now().await;
            answer("done!")
        }) as Held
    };
    (stack, arrivals, release)
}

type Held = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

#[test]
fn a_request_under_way_is_finished_and_its_connection_closed() {
    let (stack, arrivals, release) = held();
    let mut server = Server::start(&config(), service_fn(stack));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv_timeout(PATIENCE).expect("arrived");
    server.shutdown.drain();
    release.send_replace(true);
    let answer = client.read_to_end();
    assert!(answer.contains("connection: close") && answer.ends_with("done!"), "{answer}");
    server.join();
    assert!(TcpStream::connect(server.address).is_err(), "nobody listens");
}

#[test]
fn queued_connections_are_served() {
    // A worker that is busy cannot accept: what connects meanwhile waits in the socket's queue.
    let (entered, inside) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    let stack = service_fn(move |request: Request| {
        let (entered, wait) = (entered.clone(), Arc::clone(&wait));
        async move {
            if request.head.uri.path() == "/block" {
                let _ = entered.send(());
                let _ = wait.lock().expect("one at a time").recv();
            }
            echo(request).await
        }
    });
    let mut server = Server::start(&config(), stack);
    let mut blocking = server.connect();
    blocking.send("GET /block HTTP/1.1\r\nHost: a\r\n\r\n");
    inside.recv_timeout(PATIENCE).expect("the worker is busy");
    let mut queued: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for client in &mut queued {
        client.send("GET /queued HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    server.shutdown.drain();
    release.send(()).expect("the worker waits");
    for client in &mut queued {
        let answer = client.read_to_end();
        assert!(answer.contains("GET /queued "), "{answer:?}");
    }
    assert!(blocking.read_to_end().contains("GET /block "));
    server.join();
}

#[test]
fn idle_connections_end_with_the_drain() {
    let mut server = Server::start(&config(), service_fn(echo));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("!");
    server.shutdown.drain();
    assert_eq!(client.read_to_end(), "");
    server.join();
}

#[test]
fn background_work_is_waited_for() {
    let mut server = Server::start(&config(), service_fn(echo));
    let (release, wait) = tokio::sync::oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let background = server.shutdown.background().clone();
    let task = background.track_future(wait);
    server.shutdown.drain();
    release.send(()).expect("tracked");
    runtime.block_on(task).expect("released");
    server.join();
}

#[test]
fn what_outlasts_the_grace_is_cut() {
    let (stack, arrivals, _release) = held();
    let config = Config { grace: Duration::from_millis(50), ..config() };
    let mut server = Server::start(&config, service_fn(stack));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv_timeout(PATIENCE).expect("arrived");
    server.shutdown.drain();
    server.join();
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn a_kill_waits_for_nobody() {
    let (stack, arrivals, _release) = held();
    let mut server = Server::start(&config(), service_fn(stack));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv_timeout(PATIENCE).expect("arrived");
    server.shutdown.kill();
    server.join();
    assert_eq!(client.read_to_end(), "");
}
