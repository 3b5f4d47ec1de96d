//! Where a server listens, or where to reach it: `BANTAM_HOST`, as `host`, `host:port` or a URL.
//!
//! Knows no HTTP. Read next: `commands/serve.rs`, which listens; `client.rs`, which asks.

use crate::failure::UsedWrongly;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// The variable that names the server, for the one that serves and those that ask.
pub const VARIABLE: &str = "BANTAM_HOST";

/// The port where none is named: the one that programs made for local models know already.
pub const PORT: u16 = 11434;

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Default for Address {
    fn default() -> Address {
        Address { is_tls: false, host: "127.0.0.1".to_owned(), port: PORT }
    }
}

impl Address {
    /// What `BANTAM_HOST` says, or the default.
    ///
    /// # Errors
    /// A value that names no place: used wrongly.
    pub fn from_env() -> Result<Address, UsedWrongly> {
        match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => {
                Address::parse(&text).map_err(|error| UsedWrongly(format!("{VARIABLE}: {error}")))
            }
            _ => Ok(Address::default()),
        }
    }

    /// Reads a place. The port may be left out, and with a colon before the port the host too.
    ///
    /// # Errors
    /// What was expected, and what came.
    pub fn parse(text: &str) -> Result<Address, String> {
        let wrong = || format!("expected host:port, as 127.0.0.1:{PORT}, got {text:?}");
        let (is_tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(wrong()),
            None => (false, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let bare_v6 = rest.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        let (host, port) = match rest.rsplit_once(':') {
            Some(_) if bare_v6 => (rest, PORT),
            Some((host, port)) if !host.ends_with(':') => (host, port.parse().map_err(|_| wrong())?),
            _ => (rest, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
        // A system would take a bare number for an address (RFC 6943, section 3.1.1).
        let is_number = host.bytes().all(|byte| byte.is_ascii_digit());
        if rest.is_empty()
            || (is_number && !host.is_empty())
            || !host.bytes().all(is_host)
            || (host.contains(':') && host.parse::<IpAddr>().is_err())
        {
            return Err(wrong());
        }
        let host = if host.is_empty() { Address::default().host } else { host.to_owned() };
        Ok(Address { is_tls, host, port })
    }

    /// The address to listen at.
    ///
    /// # Errors
    /// A name that the system does not know.
    pub fn to_listen(&self) -> Result<SocketAddr, String> {
        let expected = format!("expected host:port, as 127.0.0.1:{PORT} or 0.0.0.0:{PORT} for every address");
        let of_name = |what: &str| format!("{expected}, got {:?}: {what}", self.host);
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        found.map_err(|error| of_name(&error.to_string()))?.next().ok_or_else(|| of_name("no address has this name"))
    }

    /// Where to reach the server.
    pub fn url(&self) -> String {
        let place = match self.host.parse::<IpAddr>() {
            Ok(ip) => reached_at(SocketAddr::new(ip, self.port)).to_string(),
            Err(_) => format!("{}:{}", self.host, self.port),
        };
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{place}")
    }
}

/// Where to reach what listens at an address: at every one means at this machine's own.
pub fn reached_at(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        for (text, url) in [
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            (":9000", "http://127.0.0.1:9000"),
            ("[::]:9000", "http://[::1]:9000"),
            ("::1", "http://[::1]:11434"),
            ("[fd00::7]", "http://[fd00::7]:11434"),
            ("models.example", "http://models.example:11434"),
            ("https://models.example:443/", "https://models.example:443"),
        ] {
            assert_eq!(Address::parse(text).map(|address| address.url()), Ok(url.to_owned()), "{text}");
        }
        assert_eq!(Address::default().url(), "http://127.0.0.1:11434");
        assert_eq!(Address::parse("[::1]:7").unwrap().to_listen().unwrap(), "[::1]:7".parse().unwrap());
    }

    #[test]
    fn a_name_without_an_address_is_refused_with_what_was_expected() {
        // Reserved for names that never exist (RFC 2606, section 2).
        let error = Address::parse("nonsense.invalid").unwrap().to_listen().unwrap_err();
        let expected =
            "expected host:port, as 127.0.0.1:11434 or 0.0.0.0:11434 for every address, got \"nonsense.invalid\": ";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "23456",
            "99999",
            "1:80",
            "a:b",
            "127.0.0.1:99999",
            "ftp://a:1",
            "http://a:1/v1",
            "a b:1",
            "a:b:1",
            "http://",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(error, format!("expected host:port, as 127.0.0.1:11434, got {text:?}"));
        }
    }
}
