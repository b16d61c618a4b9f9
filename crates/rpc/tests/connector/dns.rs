//! A small name server on a real UDP socket, whose answers can change from one question to the
//! next, and a resolver that asks it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use rpc::a2a::Resolve;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// What a name server says of a name.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Address(IpAddr),
    Alias(&'static str),
}

pub(crate) fn address(text: &str) -> Record {
    Record::Address(text.parse().unwrap())
}

/// Of each name, what it is answered first, second and so on; the last answer stays.
type Zone = HashMap<String, Vec<Vec<Record>>>;

#[derive(Debug, Default)]
struct State {
    zone: Zone,
    asked: HashMap<(String, u16), usize>,
}

#[derive(Debug)]
pub(crate) struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl NameServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        #[expect(clippy::disallowed_methods, reason = "ended when the server is dropped")]
        let serving = tokio::spawn(serve(socket, state.clone()));
        Self { address, state, serving }
    }

    /// Says of a name the same every time.
    pub(crate) fn say(&self, name: &str, records: Vec<Record>) {
        self.say_in_turn(name, vec![records]);
    }

    pub(crate) fn say_in_turn(&self, name: &str, answers: Vec<Vec<Record>>) {
        self.state.lock().unwrap().zone.insert(name.to_owned(), answers);
    }

    /// How often the IPv4 addresses of a name were asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.state.lock().unwrap().asked.get(&(name.to_owned(), A)).copied().unwrap_or_default()
    }

    pub(crate) fn resolver(&self) -> Arc<dyn Resolve> {
        Arc::new(Client(self.address))
    }
}

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut question = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut question).await.unwrap();
        let answer = answer(&question[..length], &state);
        socket.send_to(&answer, from).await.unwrap();
    }
}

fn answer(question: &[u8], state: &Mutex<State>) -> Vec<u8> {
    let (name, end) = read_name(question, 12);
    let kind = u16::from_be_bytes([question[end], question[end + 1]]);
    let mut state = state.lock().unwrap();
    let turn = state.asked.entry((name.clone(), kind)).or_default();
    let now = *turn;
    *turn += 1;
    let records = resolve(&state.zone, &name, now, kind);
    let mut answer = question[..end + 4].to_vec();
    answer[2..4].copy_from_slice(&[0x81, if records.is_empty() { 0x83 } else { 0x80 }]);
    answer[6..12].copy_from_slice(&[0, records.len() as u8, 0, 0, 0, 0]);
    for (owner, record) in records {
        write_name(&mut answer, &owner);
        let (kind, data) = match record {
            Record::Address(IpAddr::V4(address)) => (A, address.octets().to_vec()),
            Record::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec()),
            Record::Alias(target) => {
                let mut data = Vec::new();
                write_name(&mut data, target);
                (CNAME, data)
            }
        };
        answer.extend(kind.to_be_bytes());
        // Class IN; a TTL of 0 tells every cache to ask again.
        answer.extend([0, 1, 0, 0, 0, 0]);
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    answer
}

/// The records of a name and, as a recursive server gives them, of what it is an alias of.
fn resolve(zone: &Zone, name: &str, turn: usize, kind: u16) -> Vec<(String, Record)> {
    let Some(answers) = zone.get(name) else { return Vec::new() };
    let mut found = Vec::new();
    for record in &answers[turn.min(answers.len() - 1)] {
        let is_asked = match record {
            Record::Address(IpAddr::V4(_)) => kind == A,
            Record::Address(IpAddr::V6(_)) => kind == AAAA,
            Record::Alias(_) => true,
        };
        if is_asked {
            found.push((name.to_owned(), record.clone()));
        }
        if let Record::Alias(target) = record {
            found.extend(resolve(zone, target, turn, kind));
        }
    }
    found
}

fn read_name(message: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(message[at]);
        at += 1;
        if length == 0 {
            return (labels.join("."), at);
        }
        labels.push(String::from_utf8_lossy(&message[at..at + length]).into_owned());
        at += length;
    }
}

fn write_name(message: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
}

/// Asks one server for both kinds of addresses, and believes it.
#[derive(Debug)]
struct Client(SocketAddr);

impl Resolve for Client {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let server = self.0;
        Box::pin(async move {
            let mut found = ask(server, &host, A).await?;
            found.extend(ask(server, &host, AAAA).await?);
            Ok(found)
        })
    }
}

async fn ask(server: SocketAddr, name: &str, kind: u16) -> io::Result<Vec<IpAddr>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    write_name(&mut question, name);
    question.extend(kind.to_be_bytes());
    question.extend([0, 1]);
    socket.send(&question).await?;
    let mut answer = [0; 1500];
    let length = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut answer)).await??;
    Ok(addresses(&answer[..length], question.len()))
}

fn addresses(answer: &[u8], mut at: usize) -> Vec<IpAddr> {
    let mut found = Vec::new();
    while at < answer.len() {
        let (_, end) = read_name(answer, at);
        let length = usize::from(u16::from_be_bytes([answer[end + 8], answer[end + 9]]));
        let data = &answer[end + 10..end + 10 + length];
        match u16::from_be_bytes([answer[end], answer[end + 1]]) {
            A => found.push(<[u8; 4]>::try_from(data).unwrap().into()),
            AAAA => found.push(<[u8; 16]>::try_from(data).unwrap().into()),
            _ => {}
        }
        at = end + 10 + length;
    }
    found
}
