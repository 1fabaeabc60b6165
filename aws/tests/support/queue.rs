//! A fake SQS: it keeps the rules that the adapter relies on, counts the requests, and fails on demand.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use soundoff_common::lock::lock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The largest request, and the largest message.
const LARGEST: usize = 1024 * 1024;
/// The largest answer.
const ENTRIES: usize = 10;

/// How one call is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// As it must be.
    Well,
    /// The entries at these places are refused (one bit for each); as the sender's fault or not.
    Failing(u32, bool),
    /// The whole call is refused.
    Unavailable,
    /// The call is done, and its answer is an error.
    Lost,
    /// The answer comes late.
    Slow(Duration),
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) action: String,
    pub(crate) queue: String,
    /// The bodies or receipt handles of its entries.
    pub(crate) entries: Vec<String>,
    /// The visibility that it asks for, in seconds.
    pub(crate) visibility: u64,
    pub(crate) bytes: usize,
    /// How many receives of the queue were under way, this one included.
    pub(crate) receives: usize,
}

#[derive(Debug)]
struct Kept {
    body: String,
    attributes: Value,
    /// Whose it is, as its sender says.
    group: Value,
    visible_at: Instant,
    sent_at: u64,
    count: u64,
}

#[derive(Debug, Default)]
struct Queue {
    kept: HashMap<u64, Kept>,
    order: BTreeSet<(Instant, u64)>,
    receives: usize,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<String, Queue>,
    next: u64,
    calls: Vec<Call>,
    replies: HashMap<(String, String), VecDeque<Reply>>,
    always: HashMap<(String, String), Reply>,
}

/// The engine; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) endpoint: String,
    latency: Duration,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Fake {
    /// Serves on a free port; each answer takes `latency` at least.
    pub(crate) async fn serve(latency: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { endpoint, latency, state: Arc::default(), changed: Arc::default() };
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                tokio::spawn(server.clone().talk(socket));
            }
        });
        fake
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Plans the answers to the next calls of an action on a queue.
    pub(crate) fn next(&self, queue: &str, action: &str, replies: impl IntoIterator<Item = Reply>) {
        let key = (queue.to_owned(), action.to_owned());
        self.lock().replies.entry(key).or_default().extend(replies);
    }

    /// Plans the answer to every further call.
    pub(crate) fn always(&self, queue: &str, action: &str, reply: Reply) {
        self.lock().always.insert((queue.to_owned(), action.to_owned()), reply);
    }

    /// Removes and returns the calls of an action on a queue so far.
    pub(crate) fn calls(&self, queue: &str, action: &str) -> Vec<Call> {
        let wanted = |call: &mut Call| call.queue == queue && call.action == action;
        self.lock().calls.extract_if(.., wanted).collect()
    }

    /// Adds a message as it is.
    pub(crate) fn put(&self, queue: &str, body: &str) {
        self.lock().add(queue, &json!({ "MessageBody": body }));
        self.changed.notify_waiters();
    }

    /// The bodies in a queue, hidden or not.
    pub(crate) fn bodies(&self, queue: &str) -> Vec<String> {
        let state = self.lock();
        let kept = state.queues.get(queue).into_iter().flat_map(|queue| queue.kept.values());
        kept.map(|kept| kept.body.clone()).collect()
    }

    /// Makes everything visible, as if all visibility timeouts had expired.
    pub(crate) fn expire(&self, queue: &str) {
        let mut state = self.lock();
        let queue = state.queues.entry(queue.to_owned()).or_default();
        let (now, all): (_, Vec<u64>) = (Instant::now(), queue.kept.keys().copied().collect());
        all.into_iter().for_each(|id| queue.hide(id, now));
        self.changed.notify_waiters();
    }

    async fn talk(self, socket: TcpStream) {
        let mut socket = BufReader::new(socket);
        loop {
            let (mut length, mut action) = (0, String::new());
            loop {
                let mut line = String::new();
                if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                let line = line.trim();
                if line.is_empty() {
                    break;
                }
                let Some((name, value)) = line.split_once(':') else { continue };
                match name.to_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "x-amz-target" => action = value.trim().trim_start_matches("AmazonSQS.").to_owned(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            if socket.read_exact(&mut body).await.is_err() {
                return;
            }
            let body: Value = serde_json::from_slice(&body).unwrap();
            let ((status, answer), _) =
                tokio::join!(self.answer(&action, &body), tokio::time::sleep(self.latency));
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            if socket.write_all((head + &answer).as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, action: &str, body: &Value) -> (u16, Value) {
        if action == "GetQueueUrl" {
            let name = text(&body["QueueName"]);
            return (200, json!({ "QueueUrl": format!("{}/0/{name}", self.endpoint) }));
        }
        let url = text(&body["QueueUrl"]);
        let queue = url.rsplit('/').next().unwrap().to_owned();
        let reply = self.lock().came(action, &queue, body);
        if let Reply::Slow(time) = reply {
            tokio::time::sleep(time).await;
        }
        if let Reply::Unavailable = reply {
            self.ended(action, &queue);
            return (503, json!({ "__type": "ServiceUnavailable" }));
        }
        let answer = if action == "ReceiveMessage" {
            self.receive(&queue, body).await
        } else {
            let answer = self.lock().act(action, &queue, body, reply);
            self.changed.notify_waiters();
            answer
        };
        self.ended(action, &queue);
        if let Reply::Lost = reply { (503, json!({ "__type": "InternalError" })) } else { answer }
    }

    fn ended(&self, action: &str, queue: &str) {
        if action == "ReceiveMessage" {
            self.lock().queues.entry(queue.to_owned()).or_default().receives -= 1;
        }
    }

    async fn receive(&self, queue: &str, body: &Value) -> (u16, Value) {
        let number = |name: &str, otherwise| body[name].as_u64().unwrap_or(otherwise);
        let until = Instant::now() + Duration::from_secs(number("WaitTimeSeconds", 0));
        let most = usize::try_from(number("MaxNumberOfMessages", 1)).unwrap().min(ENTRIES);
        let hidden = Duration::from_secs(number("VisibilityTimeout", 30));
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let got = self.lock().queues.entry(queue.to_owned()).or_default().take(most, hidden);
            if !got.is_empty() || Instant::now() >= until {
                return (200, json!({ "Messages": got }));
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), changed).await;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Queue {
    fn hide(&mut self, id: u64, until: Instant) {
        if let Some(kept) = self.kept.get_mut(&id) {
            self.order.remove(&(kept.visible_at, id));
            kept.visible_at = until;
            self.order.insert((until, id));
        }
    }

    fn take(&mut self, most: usize, hidden: Duration) -> Vec<Value> {
        let now = Instant::now();
        let due: Vec<_> = self.order.range(..=(now, u64::MAX)).take(most).map(|(_, id)| *id).collect();
        let answer = due.into_iter().filter_map(|id| {
            self.hide(id, now + hidden);
            let kept = self.kept.get_mut(&id)?;
            kept.count += 1;
            let mut about = json!({
                "ApproximateReceiveCount": kept.count.to_string(), "SentTimestamp": kept.sent_at.to_string(),
            });
            if kept.group.is_string() {
                about["MessageGroupId"] = kept.group.clone();
            }
            Some(json!({
                "MessageId": id.to_string(), "ReceiptHandle": format!("{id}#{}", kept.count), "Body": kept.body,
                "MessageAttributes": kept.attributes, "Attributes": about,
            }))
        });
        answer.collect()
    }

    /// The message of a handle, if the handle is of its latest receive.
    fn named(&self, handle: &str) -> Option<u64> {
        let (id, count) = handle.split_once('#')?;
        let id = id.parse().ok()?;
        (self.kept.get(&id)?.count.to_string() == count).then_some(id)
    }
}

impl State {
    fn came(&mut self, action: &str, queue: &str, body: &Value) -> Reply {
        let key = (queue.to_owned(), action.to_owned());
        let entries = body["Entries"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
        let content = |entry: &Value| text(&entry["MessageBody"]) + &text(&entry["ReceiptHandle"]);
        let bytes = entries.iter().map(|entry| text(&entry["MessageBody"]).len()).sum();
        let known = self.queues.entry(queue.to_owned()).or_default();
        known.receives += usize::from(action == "ReceiveMessage");
        self.calls.push(Call {
            action: action.to_owned(),
            queue: queue.to_owned(),
            entries: entries.iter().map(content).collect(),
            visibility: entries.iter().find_map(|entry| entry["VisibilityTimeout"].as_u64()).unwrap_or(0),
            bytes,
            receives: known.receives,
        });
        let planned = self.replies.get_mut(&key).and_then(VecDeque::pop_front);
        planned.or_else(|| self.always.get(&key).copied()).unwrap_or(Reply::Well)
    }

    fn add(&mut self, queue: &str, entry: &Value) -> String {
        self.next += 1;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (id, visible_at) = (self.next, Instant::now());
        let sent_at = u64::try_from(since.as_millis()).unwrap();
        let (body, attributes) = (text(&entry["MessageBody"]), entry["MessageAttributes"].clone());
        let group = entry["MessageGroupId"].clone();
        let queue = self.queues.entry(queue.to_owned()).or_default();
        queue.kept.insert(id, Kept { body, attributes, group, visible_at, sent_at, count: 0 });
        queue.order.insert((visible_at, id));
        id.to_string()
    }

    fn act(&mut self, action: &str, queue: &str, body: &Value, reply: Reply) -> (u16, Value) {
        match action {
            "SendMessage" => {
                let id = self.add(queue, body);
                return (200, json!({ "MessageId": id, "MD5OfMessageBody": "" }));
            }
            "GetQueueAttributes" => return (200, self.queues.entry(queue.to_owned()).or_default().counts()),
            _ => {}
        }
        let Some(entries) = body["Entries"].as_array() else {
            return (400, json!({ "__type": "UnsupportedOperation" }));
        };
        let bytes: usize = entries.iter().map(|entry| text(&entry["MessageBody"]).len()).sum();
        if entries.len() > ENTRIES || bytes > LARGEST {
            return (400, json!({ "__type": "BatchRequestTooLong" }));
        }
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            let id = entry["Id"].clone();
            match reply {
                Reply::Failing(bits, sender) if bits >> place & 1 == 1 => {
                    bad.push(json!({ "Id": id, "Code": "InternalError", "SenderFault": sender }));
                }
                _ => match self.entry(action, queue, entry) {
                    Ok(made) => good.push(json!({ "Id": id, "MessageId": made, "MD5OfMessageBody": "" })),
                    Err(code) => bad.push(json!({ "Id": id, "Code": code, "SenderFault": true })),
                },
            }
        }
        // In another order: answers are matched by their ids.
        good.reverse();
        (200, json!({ "Successful": good, "Failed": bad }))
    }

    fn entry(&mut self, action: &str, queue: &str, entry: &Value) -> Result<String, &'static str> {
        if action == "SendMessageBatch" {
            return Ok(self.add(queue, entry));
        }
        let queue = self.queues.entry(queue.to_owned()).or_default();
        let named = queue.named(&text(&entry["ReceiptHandle"]));
        match action {
            "DeleteMessageBatch" => {
                if let Some(kept) =
                    named.and_then(|id| queue.kept.remove(&id).map(|kept| (kept.visible_at, id)))
                {
                    queue.order.remove(&kept);
                }
                Ok(String::new())
            }
            "ChangeMessageVisibilityBatch" => {
                let seconds = entry["VisibilityTimeout"].as_u64().unwrap_or(0);
                let id = named.ok_or("ReceiptHandleIsInvalid")?;
                queue.hide(id, Instant::now() + Duration::from_secs(seconds));
                Ok(String::new())
            }
            _ => Err("UnsupportedOperation"),
        }
    }
}

impl Queue {
    fn counts(&self) -> Value {
        let visible = self.order.range(..=(Instant::now(), u64::MAX)).count();
        let hidden = self.kept.len() - visible;
        json!({ "Attributes": {
            "ApproximateNumberOfMessages": visible.to_string(),
            "ApproximateNumberOfMessagesNotVisible": hidden.to_string(),
        }})
    }
}

/// Whether this test has credentials; without them it is run in a process of its own that has some.
pub(crate) fn signed() -> bool {
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() && std::env::var_os("AWS_REGION").is_some() {
        return true;
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap();
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    false
}
