//! The addresses of a host's name, by the host's own configuration: an address, `localhost`, or what one of the
//! servers in `/etc/resolv.conf` says. A question of one packet; who answers with more is not understood.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

/// Where the host says whom to ask.
const CONFIGURATION: &str = "/etc/resolv.conf";
/// How long one server has.
const PATIENCE: Duration = Duration::from_secs(2);
/// The types of records asked for, and the bytes of an address in each.
const TYPES: [(u16, usize); 2] = [(1, 4), (28, 16)];

/// The addresses of `host`, which may be one with or without brackets.
pub(super) async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    if bare.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let configuration = tokio::fs::read_to_string(CONFIGURATION).await.unwrap_or_default();
    for server in servers(&configuration) {
        let mut found = Vec::new();
        for kind in TYPES {
            let asked = tokio::time::timeout(PATIENCE, ask(server, bare, kind)).await;
            found.extend(asked.ok().and_then(Result::ok).unwrap_or_default());
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err("no such host".to_owned())
}

fn servers(configuration: &str) -> Vec<SocketAddr> {
    let words = configuration.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let servers = words.filter(|words| words.len() > 1 && words[0] == "nameserver");
    servers.filter_map(|words| Some(SocketAddr::new(words[1].parse().ok()?, 53))).collect()
}

async fn ask(server: SocketAddr, name: &str, (kind, width): (u16, usize)) -> std::io::Result<Vec<IpAddr>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let id = fastrand::u16(..);
    let Some(question) = question(id, name, kind) else { return Ok(Vec::new()) };
    socket.send(&question).await?;
    let mut answer = [0; 1500];
    loop {
        let length = socket.recv(&mut answer).await?;
        let answer = &answer[..length];
        // Whatever does not repeat the question is somebody else's.
        if answer.len() >= question.len()
            && answer[..2] == question[..2]
            && answer[12..question.len()] == question[12..]
        {
            return Ok(addresses(answer, question.len(), kind, width).unwrap_or_default());
        }
    }
}

/// A question for one type of record; none for what is no name.
fn question(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut packet = id.to_be_bytes().to_vec();
    // Recursion is desired; one question.
    packet.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        packet.push(length);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&1_u16.to_be_bytes());
    (packet.len() <= 12 + 255 + 4).then_some(packet)
}

/// The addresses in an answer whose records begin at `at`; none where it cannot be read.
fn addresses(answer: &[u8], mut at: usize, kind: u16, width: usize) -> Option<Vec<IpAddr>> {
    let number = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    let mut found = Vec::new();
    for _ in 0..number(6)? {
        at = skip_name(answer, at)?;
        let (record, length) = (number(at)?, usize::from(number(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        if record == kind && length == width {
            found.push(match <[u8; 4]>::try_from(data) {
                Ok(four) => IpAddr::from(four),
                Err(_) => IpAddr::from(<[u8; 16]>::try_from(data).ok()?),
            });
        }
        at += 10 + length;
    }
    Some(found)
}

/// The place after a name, which may end in a reference to an earlier one.
fn skip_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            reference if reference >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn addresses_and_localhost_need_no_server() {
        assert_eq!(resolve("[::1]").await.unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(resolve("10.1.2.3").await.unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        assert_eq!(resolve("localhost").await.unwrap()[0], IpAddr::from(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn the_configuration_names_servers() {
        let text = "# x\nsearch a.b\nnameserver 10.0.0.2\nnameserver  ::1\noptions ndots:5\nnameserver\n";
        let expected: [SocketAddr; 2] = ["10.0.0.2:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        assert_eq!(servers(text), expected);
    }

    #[tokio::test]
    async fn a_server_is_asked_and_its_answer_read() {
        let server = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut packet = [0; 512];
            let (length, from) = server.recv_from(&mut packet).await.unwrap();
            let mut answer = packet[..length].to_vec();
            answer[2] = 0x81;
            answer[7] = 2;
            // An alias first, then the address, both under a reference to the question's name.
            answer.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 9, 8, 7]);
            server.send_to(b"noise", from).await.unwrap();
            server.send_to(&answer, from).await.unwrap();
        });
        let found = ask(address, "hook.example.com", TYPES[0]).await.unwrap();
        assert_eq!(found, [IpAddr::from([10, 9, 8, 7])]);
        serving.await.unwrap();
        assert!(question(1, "a..b", 1).is_none() && question(1, &"a".repeat(64), 1).is_none());
        for cut in 0..40 {
            addresses(&vec![0xff; cut], 12, 1, 4);
        }
    }
}
