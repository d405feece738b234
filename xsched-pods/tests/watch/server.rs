//! A server that speaks the pods' part of the Kubernetes API over HTTP: lists
//! in pages (limit, continue), watches from a version on, bookmarks, 410 Gone
//! once its history is forgotten (https://kubernetes.io/docs/reference/using-api/api-concepts/).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Pods in one page of a list: fewer than any test has.
const PAGE: usize = 3;

/// How a watch's connection ends.
#[derive(Clone, Copy, Debug)]
pub enum Goodbye {
    /// As after `timeoutSeconds`.
    Clean,
    /// The connection is reset.
    Reset,
    /// The same in the middle of a line.
    HalfALine,
    /// A line that is no event, and then a clean end.
    Nonsense,
}

type Watch = UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;

#[derive(Default)]
struct State {
    version: u64,
    pods: BTreeMap<String, Value>,
    history: Vec<(u64, Value)>,
    /// Versions up to this one are forgotten.
    forgotten: u64,
    watches: Vec<Watch>,
    refuses: bool,
    gone: usize,
    log: Vec<String>,
}

/// A running server; it ends with the test's process.
pub struct Server {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

impl Server {
    pub fn start() -> Server {
        let state = Arc::new(Mutex::new(State {
            version: 100,
            ..State::default()
        }));
        let shared = state.clone();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("bound"))
                    .expect("it waits");
                loop {
                    let (stream, _) = listener.accept().await.expect("accepts");
                    // A dropped body then resets the connection.
                    let _ = socket_lingers_not(&stream);
                    let state = shared.clone();
                    let service = service_fn(move |request| {
                        let response = answer(&request, &state);
                        async { Ok::<_, Infallible>(response) }
                    });
                    tokio::spawn(async move {
                        let io = TokioIo::new(stream);
                        let http = hyper::server::conn::http1::Builder::new();
                        let _ = http.serve_connection(io, service).await;
                    });
                }
            });
        });
        Server {
            state,
            address: told.recv().expect("it starts"),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }

    /// Adds a pod, or changes its class.
    pub fn put(&self, uid: &str, class: &str) {
        let mut state = self.state();
        let kind = match state.pods.contains_key(uid) {
            true => "MODIFIED",
            false => "ADDED",
        };
        state.version += 1;
        let pod = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {
                "uid": uid, "name": format!("pod-{uid}"), "namespace": "web",
                "resourceVersion": state.version.to_string(),
                "labels": { "app": "api" },
                "annotations": { "xsched.io/class": class, "private": "not for you" },
            },
        });
        state.pods.insert(uid.to_owned(), pod.clone());
        state.tell(json!({ "type": kind, "object": pod }));
    }

    pub fn remove(&self, uid: &str) {
        let mut state = self.state();
        let Some(mut pod) = state.pods.remove(uid) else {
            return;
        };
        state.version += 1;
        pod["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.tell(json!({ "type": "DELETED", "object": pod }));
    }

    /// Something happens elsewhere in the cluster.
    pub fn grow(&self) {
        self.state().version += 50;
    }

    /// Tells every watch how far it is.
    pub fn bookmark(&self) {
        let state = self.state();
        let object = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": { "resourceVersion": state.version.to_string(), "name": "" },
        });
        state.send(&json!({ "type": "BOOKMARK", "object": object }));
    }

    /// As etcd's compaction.
    pub fn forget_history(&self) {
        let mut state = self.state();
        state.history.clear();
        state.forgotten = state.version;
    }

    pub fn hang_up(&self, how: Goodbye) {
        let mut state = self.state();
        for watch in state.watches.drain(..) {
            let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
            let reset = || Err(std::io::Error::other("reset"));
            let _ = match how {
                Goodbye::Clean => Ok(()),
                Goodbye::Reset => watch.send(reset()),
                Goodbye::HalfALine => watch
                    .send(data("{\"type\":\"ADDED\",\"obj"))
                    .and_then(|()| watch.send(reset())),
                Goodbye::Nonsense => watch.send(data("<html>Bad Gateway</html>\n")),
            };
        }
    }

    /// Answers everything with an error of its own.
    pub fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// Classes by uid.
    pub fn pods(&self) -> BTreeMap<String, String> {
        let class = |pod: &Value| pod["metadata"]["annotations"]["xsched.io/class"].clone();
        let text = |pod: &Value| class(pod).as_str().unwrap_or_default().to_owned();
        let state = self.state();
        state
            .pods
            .iter()
            .map(|(uid, pod)| (uid.clone(), text(pod)))
            .collect()
    }

    /// How often 410 was said.
    pub fn gone(&self) -> usize {
        self.state().gone
    }

    /// What was asked.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }
}

impl State {
    fn tell(&mut self, event: Value) {
        self.history.push((self.version, event.clone()));
        self.send(&event);
    }

    fn send(&self, event: &Value) {
        for watch in &self.watches {
            let _ = watch.send(Ok(line(event)));
        }
    }
}

fn line(event: &Value) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!("{event}\n")))
}

/// SO_LINGER of zero: closing sends RST.
fn socket_lingers_not(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let off = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = std::mem::size_of_val(&off) as libc::socklen_t;
    // SAFETY: the socket is open, and the option is of the type and size that
    // SO_LINGER takes (socket(7)).
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const off).cast(),
            size,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

fn whole(code: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string()));
    let body = body.map_err(|never| match never {}).boxed();
    let response = Response::builder().status(code);
    let response = response.header("content-type", "application/json");
    response.body(body).expect("a response")
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": reason, "code": code,
    })
}

fn answer(request: &Request<Incoming>, state: &Mutex<State>) -> Response<Body> {
    let mut state = state.lock().expect("whole");
    let query = request.uri().query().unwrap_or_default().to_owned();
    state.log.push(format!("{}?{query}", request.uri().path()));
    let value = |key: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(name, value)| (name == key).then(|| value.to_owned()))
    };
    let authorised = request.headers().get("authorization");
    if authorised.is_none_or(|token| token != "Bearer secret") {
        return whole(401, &status(401, "Unauthorized"));
    }
    if state.refuses {
        return whole(503, &status(503, "ServiceUnavailable"));
    }
    if request.uri().path() != "/api/v1/pods" {
        return whole(404, &status(404, "NotFound"));
    }
    if value("watch").is_some_and(|watch| watch == "true" || watch == "1") {
        let from = value("resourceVersion")
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        return watch(from, &mut state);
    }
    let from: usize = value("continue").and_then(|v| v.parse().ok()).unwrap_or(0);
    let items: Vec<&Value> = state.pods.values().skip(from).take(PAGE).collect();
    let mut meta = json!({ "resourceVersion": state.version.to_string() });
    if from + items.len() < state.pods.len() && value("limit").is_some() {
        meta["continue"] = json!((from + PAGE).to_string());
    }
    let list = json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
        "metadata": meta, "items": items,
    });
    whole(200, &list)
}

fn watch(from: u64, state: &mut State) -> Response<Body> {
    let (watch, mut events) = unbounded_channel();
    if from < state.forgotten {
        state.gone += 1;
        let gone = json!({ "type": "ERROR", "object": status(410, "Expired") });
        // Half of the times as a status of HTTP, as some servers do.
        if state.gone.is_multiple_of(2) {
            return whole(410, &status(410, "Expired"));
        }
        let _ = watch.send(Ok(line(&gone)));
    } else {
        for (version, event) in &state.history {
            if *version > from {
                let _ = watch.send(Ok(line(event)));
            }
        }
        state.watches.push(watch);
    }
    let events = futures::stream::poll_fn(move |context| events.poll_recv(context));
    let response = Response::builder().header("content-type", "application/json");
    let body = StreamBody::new(events).boxed();
    response.body(body).expect("a response")
}
