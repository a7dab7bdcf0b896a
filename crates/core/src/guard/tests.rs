use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn guard(allowed: &[&str], allow_http: bool) -> Guard {
    Guard::new(allowed.iter().map(|net| net.parse().expect(net)).collect(), allow_http)
}

fn class(text: &str) -> Option<&'static str> {
    Guard::default().check(ip(text)).err().map(|blocked| blocked.class)
}

/// The first and the last address of every blocked range, and what it is called.
#[test]
fn every_blocked_range_is_blocked_to_its_ends() {
    let ranges = [
        ("0.0.0.0", "0.0.0.0", "unspecified"),
        ("0.0.0.1", "0.255.255.255", "reserved (this network)"),
        ("10.0.0.0", "10.255.255.255", "private"),
        ("100.64.0.0", "100.127.255.255", "carrier-grade NAT"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("168.63.129.16", "168.63.129.16", "cloud metadata"),
        ("169.254.0.0", "169.254.255.255", "link-local"),
        ("169.254.169.254", "169.254.169.254", "link-local (cloud metadata)"),
        ("172.16.0.0", "172.31.255.255", "private"),
        ("192.0.0.0", "192.0.0.255", "reserved (IETF protocol)"),
        ("192.0.2.0", "192.0.2.255", "documentation"),
        ("192.88.99.0", "192.88.99.255", "reserved (6to4 relay)"),
        ("192.168.0.0", "192.168.255.255", "private"),
        ("198.18.0.0", "198.19.255.255", "benchmarking"),
        ("198.51.100.0", "198.51.100.255", "documentation"),
        ("203.0.113.0", "203.0.113.255", "documentation"),
        ("224.0.0.0", "239.255.255.255", "multicast"),
        ("240.0.0.0", "255.255.255.254", "reserved"),
        ("255.255.255.255", "255.255.255.255", "broadcast"),
        ("::", "::", "unspecified"),
        ("::1", "::1", "loopback"),
        ("::2", "::254.255.255.255", "reserved (IPv4-compatible)"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "private (local-use NAT64)"),
        ("100::", "100::ffff:ffff:ffff:ffff", "discard-only"),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved (IETF protocol, Teredo)"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private (unique local)"),
        ("fd00:ec2::254", "fd00:ec2::254", "private (unique local)"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
        ("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
        ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
        ("64:ff9b:2::", "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
    ];
    for (first, last, name) in ranges {
        assert_eq!(class(first), Some(name), "{first}");
        assert_eq!(class(last), Some(name), "{last}");
    }
}

#[test]
fn the_neighbours_of_blocked_ranges_are_free() {
    let free = [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "8.8.8.8",
        "2000::",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2606:4700:4700::1111",
        "2003::",
        "3ffe:ffff::",
        "3fff:1000::",
    ];
    for address in free {
        assert_eq!(class(address), None, "{address}");
    }
}

#[test]
fn addresses_inside_addresses_are_judged() {
    for (inside, name) in [("10.0.0.1", "private"), ("127.0.0.1", "loopback"), ("169.254.169.254", "link-local (cloud metadata)")] {
        let IpAddr::V4(v4) = ip(inside) else { panic!("{inside}") };
        let [a, b, c, d] = v4.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        for spelling in [format!("::ffff:{inside}"), format!("64:ff9b::{inside}"), format!("2002:{high:x}:{low:x}::1")] {
            assert_eq!(class(&spelling), Some(name), "{spelling}");
        }
        assert!(class(&format!("::{inside}")).is_some(), "compatible");
    }
    for free in ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"] {
        assert_eq!(class(free), None, "{free}");
    }
}

#[test]
fn an_opened_network_is_open_in_its_mapped_spelling_too() {
    let guard = guard(&["10.1.0.0/16", "fd00:1::/32", "::ffff:192.168.7.0/120"], false);
    for open in ["10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5", "192.168.7.9", "::ffff:192.168.7.9"] {
        assert!(guard.check(ip(open)).is_ok() && guard.is_explicitly_allowed(ip(open)), "{open}");
    }
    for shut in ["10.2.0.1", "::ffff:10.2.0.1", "fd00:2::5", "192.168.8.1", "127.0.0.1", "64:ff9b::10.1.2.3", "2002:a01:203::1"] {
        assert!(guard.check(ip(shut)).is_err(), "{shut}");
    }
    assert!(guard.check(ip("8.8.8.8")).is_ok());
    assert!(!guard.is_explicitly_allowed(ip("8.8.8.8")));
}

#[test]
fn opening_all_of_one_family_opens_nothing_of_the_other() {
    assert!(guard(&["::/0"], false).check(ip("::ffff:127.0.0.1")).is_err());
    assert!(guard(&["::/0"], false).check(ip("::1")).is_ok());
    assert!(guard(&["0.0.0.0/0"], false).check(ip("::1")).is_err());
    assert!(guard(&["0.0.0.0/0"], false).check(ip("::ffff:127.0.0.1")).is_ok());
}

#[test]
fn the_refusal_says_how_to_open_exactly_this_address() {
    let text = |address| Guard::default().check(ip(address)).expect_err(address).to_string();
    assert_eq!(
        text("10.0.0.5"),
        "10.0.0.5 is a private address; to deliver there on purpose start the server with --allow-network 10.0.0.5/32"
    );
    assert!(text("::1").ends_with("--allow-network ::1/128"), "{}", text("::1"));
    assert!(text("0.0.0.0").contains("is an unspecified address"), "{}", text("0.0.0.0"));
    assert!(text("::ffff:10.0.0.5").ends_with("--allow-network 10.0.0.5/32"), "{}", text("::ffff:10.0.0.5"));
    let policy: &dyn AddressPolicy = &Guard::default();
    assert_eq!(policy.check(ip("10.0.0.5")), Err(text("10.0.0.5")));
}

#[test]
fn plain_http_goes_to_opened_networks_or_everywhere() {
    let some = guard(&["10.0.0.0/8"], false);
    assert!(some.allows_plain_http(ip("10.9.9.9")));
    assert!(!some.allows_plain_http(ip("8.8.8.8")));
    assert!(guard(&[], true).allows_plain_http(ip("8.8.8.8")));
}

proptest! {
    #[test]
    fn every_spelling_of_an_ipv4_address_is_judged_alike(bits: u32) {
        let guard = Guard::default();
        let v4 = Ipv4Addr::from_bits(bits);
        let plain = guard.check(v4.into()).map_err(|b| b.class);
        let nat64 = Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(bits));
        let six_to_four = Ipv6Addr::from_bits(0x2002 << 112 | u128::from(bits) << 80 | 1);
        for spelling in [v4.to_ipv6_mapped(), nat64, six_to_four] {
            prop_assert_eq!(guard.check(spelling.into()).map_err(|b| b.class), plain);
        }
    }

    #[test]
    fn whatever_the_standard_library_knows_to_be_special_is_blocked(bits: u32) {
        let v4 = Ipv4Addr::from_bits(bits);
        let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
            || v4.is_documentation() || v4.is_unspecified();
        prop_assert!(!special || Guard::default().check(v4.into()).is_err());
    }

    #[test]
    fn only_global_unicast_passes(bits: u128) {
        let v6 = Ipv6Addr::from_bits(bits);
        if Guard::default().check(v6.into()).is_ok() {
            prop_assert!(GLOBAL_UNICAST.contains(&v6) || NAT64.contains(&v6) || v6.to_ipv4_mapped().is_some());
        }
    }

    #[test]
    fn an_allowed_address_is_allowed(bits: u32, prefix in 0u8..=32) {
        let v4 = Ipv4Addr::from_bits(bits);
        let guard = Guard::new(vec![Ipv4Net::new(v4, prefix).expect("a network").into()], false);
        prop_assert!(guard.check(v4.into()).is_ok());
        prop_assert!(guard.check(v4.to_ipv6_mapped().into()).is_ok());
    }
}
