//! A proxy between the adapter and an engine; on demand it refuses requests, leaves keys unprocessed and loses answers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is passed on.
    None,
    /// It is refused: the table is overloaded.
    Throttle,
    /// All keys of a batch except this many are left unprocessed.
    Unprocessed(usize),
    /// A transaction is cancelled, as one of its tables is overloaded.
    CancelBusy,
    /// The engine does it, and the answer is lost.
    LoseAnswer,
    /// The engine does it, and the answer is an internal error.
    BreakAnswer,
}

#[derive(Debug, Default)]
struct Plan {
    faults: HashMap<&'static str, VecDeque<Fault>>,
    always: Option<(&'static str, Fault)>,
    seen: HashMap<String, usize>,
    weak: usize,
}

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    plan: Arc<Mutex<Plan>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn before(engine: &str) -> Self {
        let engine = engine.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let plan = Arc::new(Mutex::new(Plan::default()));
        let shared = plan.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (engine, plan) = (engine.clone(), shared.clone());
                tokio::spawn(async move { serve(client, &engine, &plan).await });
            }
        });
        Self { endpoint, plan, task }
    }

    /// What happens to the next requests of an action, one after another.
    pub(crate) fn next(&self, action: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().unwrap().faults.entry(action).or_default().extend(faults);
    }

    /// What happens to each request of an action from now on.
    pub(crate) fn always(&self, action: &'static str, fault: Fault) {
        self.plan.lock().unwrap().always = Some((action, fault));
    }

    /// How many reads could have returned overwritten values.
    pub(crate) fn weak(&self) -> usize {
        self.plan.lock().unwrap().weak
    }

    /// How many requests of an action came since the last call of this.
    pub(crate) fn seen(&self, action: &str) -> usize {
        self.plan.lock().unwrap().seen.remove(action).unwrap_or_default()
    }
}

/// Whether a request may read old values. Stand-ins never return any, but DynamoDB does.
fn is_weak(action: &str, body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body);
    let strong = body.matches("\"ConsistentRead\":true").count();
    match action {
        "GetItem" | "Query" | "Scan" => strong == 0,
        "BatchGetItem" => strong < body.matches("\"Keys\":").count(),
        _ => false,
    }
}

struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    async fn read(from: &mut BufReader<TcpStream>) -> Option<Self> {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if from.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
            head.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body).await.ok()?;
        Some(Self { head, body })
    }

    async fn write(&self, to: &mut BufReader<TcpStream>) -> Option<()> {
        to.write_all(self.head.as_bytes()).await.ok()?;
        to.write_all(&self.body).await.ok()?;
        to.flush().await.ok()
    }

    fn answer(status: &str, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self { head, body }
    }

    fn action(&self) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut targets = lines.filter(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"));
        let target = targets.next().map(|(_, value)| value.trim());
        target.and_then(|target| target.split('.').next_back()).unwrap_or_default().to_owned()
    }
}

fn refusal(code: &str, more: Value) -> Value {
    let mut body =
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "on purpose"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

async fn serve(client: TcpStream, engine: &str, plan: &Mutex<Plan>) -> Option<()> {
    let mut client = BufReader::new(client);
    let mut engine = BufReader::new(TcpStream::connect(engine).await.ok()?);
    while let Some(mut request) = Message::read(&mut client).await {
        let action = request.action();
        let fault = {
            let mut plan = plan.lock().unwrap();
            *plan.seen.entry(action.clone()).or_default() += 1;
            plan.weak += usize::from(is_weak(&action, &request.body));
            let always = plan.always.clone().filter(|(of, _)| *of == action).map(|(_, fault)| fault);
            let next = plan.faults.get_mut(action.as_str()).and_then(VecDeque::pop_front);
            next.or(always).unwrap_or(Fault::None)
        };
        let mut left = None;
        match fault {
            Fault::Throttle => {
                let body = refusal("ProvisionedThroughputExceededException", json!({}));
                Message::answer("400 Bad Request", &body).write(&mut client).await?;
                continue;
            }
            Fault::CancelBusy => {
                let reasons = json!({"CancellationReasons": [{"Code": "None"}, {"Code": "ThrottlingError"}]});
                let body = refusal("TransactionCanceledException", reasons);
                Message::answer("400 Bad Request", &body).write(&mut client).await?;
                continue;
            }
            Fault::Unprocessed(kept) => {
                let (body, rest) = split(&request.body, kept);
                if kept == 0 {
                    let none = json!({"Responses": {}, "UnprocessedKeys": rest});
                    Message::answer("200 OK", &none).write(&mut client).await?;
                    continue;
                }
                // Stand-ins do not check the signature.
                let length = format!("content-length: {}", request.body.len());
                request.head = request.head.replace(&length, &format!("content-length: {}", body.len()));
                (request.body, left) = (body, Some(rest));
            }
            _ => {}
        }
        request.write(&mut engine).await?;
        let mut answer = Message::read(&mut engine).await?;
        match fault {
            Fault::LoseAnswer => return None,
            Fault::BreakAnswer => {
                answer =
                    Message::answer("500 Internal Server Error", &refusal("InternalServerError", json!({})));
            }
            _ => {}
        }
        if let Some(left) = left {
            let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
            body["UnprocessedKeys"] = left;
            answer = Message::answer("200 OK", &body);
        }
        answer.write(&mut client).await?;
    }
    Some(())
}

/// A batch request with its first keys only, and the others as unprocessed keys.
fn split(body: &[u8], mut kept: usize) -> (Vec<u8>, Value) {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    let mut rest = body["RequestItems"].clone();
    let tables: Vec<String> = rest.as_object().unwrap().keys().cloned().collect();
    for table in tables {
        let keys = body["RequestItems"][&table]["Keys"].as_array_mut().unwrap();
        let left = keys.split_off(kept.min(keys.len()));
        kept -= keys.len();
        if keys.is_empty() {
            body["RequestItems"].as_object_mut().unwrap().remove(&table);
        }
        if left.is_empty() {
            rest.as_object_mut().unwrap().remove(&table);
        } else {
            rest[&table]["Keys"] = Value::Array(left);
        }
    }
    (serde_json::to_vec(&body).unwrap(), rest)
}
