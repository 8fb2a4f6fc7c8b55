//! A network: an address and how many of its bits count (RFC 4632).
//!
//! In: `10.0.0.0/8`. Out: whether an address is in it. Must never: take an address with bits beyond its prefix for a network, which would
//! be somebody's typing error.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network of one family. IPv4 addresses inside IPv6 (`::ffff:10.0.0.1`) are taken as what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network")]
pub struct NotANetwork;

/// An address as 128 bits, from the left.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    }
}

fn masked(bits: u128, prefix: u32) -> u128 {
    bits & u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let (value, width) = bits(address);
        let prefix = match prefix {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| NotANetwork)?
            }
            Some(_) => return Err(NotANetwork),
            None => width,
        };
        if prefix > width || masked(value, prefix) != value || address != address.to_canonical() {
            return Err(NotANetwork);
        }
        Ok(Self { address, prefix })
    }
}

impl Network {
    /// Whether every address of its family is in it.
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// Whether the address is in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.address.is_ipv4() == address.is_ipv4()
            && masked(bits(address).0, self.prefix) == masked(bits(self.address).0, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (network, address, within) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::1/128", "::1", true),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.holds(address.parse().unwrap()), within, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network() {
        for text in
            ["", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "::1/129", "10.0.0.0/+8", "all", "::ffff:10.0.0.0/104"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
