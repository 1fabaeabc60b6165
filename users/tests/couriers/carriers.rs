//! Carriers for tests: a mail server and a receiver of texts, which keep what they get. The walk with Node uses real
//! ones.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use serde_json::Value;
use soundoff_common::ports::courier::Notice;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Takes POSTs of texts, and answers with one status.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    pub(crate) got: Mutex<Vec<Notice>>,
}

impl Receiver {
    pub(crate) async fn start(status: u16, token: &'static str) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Arc::new(Self { port: listener.local_addr().unwrap().port(), got: Mutex::default() });
        let taking = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                taking.take(stream, status, token).await;
            }
        });
        receiver
    }

    async fn take(&self, stream: TcpStream, status: u16, token: &str) {
        let mut stream = BufReader::new(stream);
        let (mut length, mut known) = (0, false);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap()
                }
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    known = value == format!("Bearer {token}");
                }
                Some(_) => {}
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let said: Value = serde_json::from_slice(&body).unwrap();
        assert!(known, "texts come with the token");
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        let notice = Notice { to: text("to"), subject: String::new(), text: text("text") };
        self.got.lock().unwrap().push(notice);
        // A refusal that repeats what it was sent, as some do.
        let body = if status < 300 { String::new() } else { String::from_utf8(body).unwrap() };
        let answer = format!(
            "HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Takes mail by SMTP, or refuses every recipient.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    pub(crate) got: Mutex<Vec<Notice>>,
}

impl MailServer {
    pub(crate) async fn start(refuses: bool) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self { port: listener.local_addr().unwrap().port(), got: Mutex::default() });
        let taking = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taking = taking.clone();
                tokio::spawn(async move { taking.talk(stream, refuses).await });
            }
        });
        server
    }

    async fn talk(&self, stream: TcpStream, refuses: bool) {
        let mut stream = BufReader::new(stream);
        let mut to = String::new();
        let mut say = "220 test".to_owned();
        loop {
            if stream.write_all(format!("{say}\r\n").as_bytes()).await.is_err() {
                return;
            }
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let word = line.split([' ', ':']).next().unwrap().trim_end().to_uppercase();
            say = match word.as_str() {
                "RCPT" if refuses => format!("550 {} is not here", line.trim_end()),
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap().to_owned();
                    "250 ok".to_owned()
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await.unwrap();
                    let mail = read_mail(&mut stream).await;
                    self.got.lock().unwrap().push(parse(&to, &mail));
                    "250 ok".to_owned()
                }
                "QUIT" => "221 bye".to_owned(),
                _ => "250 ok".to_owned(),
            };
        }
    }
}

/// A mail as it was before dots were doubled.
async fn read_mail(stream: &mut BufReader<TcpStream>) -> String {
    let mut mail = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if line == ".\r\n" {
            return mail;
        }
        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

fn parse(to: &str, mail: &str) -> Notice {
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let coding = field("content-transfer-encoding").map_or("7bit", |(_, value)| value);
    let bytes = match coding {
        "base64" => base64::engine::general_purpose::STANDARD.decode(body.replace("\r\n", "")).unwrap(),
        "quoted-printable" => unquote(body),
        _ => body.as_bytes().to_vec(),
    };
    let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    Notice { to: to.to_owned(), subject: field("subject").unwrap().1.to_owned(), text }
}

/// RFC 2045, 6.7.
fn unquote(text: &str) -> Vec<u8> {
    let joined = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'=' {
            let digits = std::str::from_utf8(&behind[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    bytes
}
