//! What the codes of errors mean, and what to do about each: a sentence of each, of which `docs/errors` has the whole page.

use postrider_core::error::ErrorCode;

/// What happened, and what to do about it.
pub(super) fn of(code: ErrorCode) -> (&'static str, &'static str) {
    by_receiver(code).or_else(|| by_network(code)).unwrap_or_else(|| by_postrider(code))
}

/// What the receiver answered.
fn by_receiver(code: ErrorCode) -> Option<(&'static str, &'static str)> {
    Some(match code {
        ErrorCode::Connector4xx => (
            "The receiver understood the request and refused it with a 4xx status.",
            "Read what it answered: correct the URL for 404 and 405, the body for 400 and 422, then replay.",
        ),
        ErrorCode::Connector5xx => (
            "The receiver, or a proxy before it, failed with a 5xx status.",
            "Look into the receiver's log for the delivery's ID, mend it, and replay once it answers 2xx.",
        ),
        ErrorCode::RateLimited => (
            "The receiver answered 429: it gets more than it wants to take.",
            "Give the endpoint a rate limit that the receiver can bear, then replay at a low rate.",
        ),
        ErrorCode::AuthFailed => (
            "The receiver answered 401 or 403: it does not accept the signature or the credentials.",
            "Compare the secret and the credentials on both sides, correct them, test the endpoint, then replay.",
        ),
        ErrorCode::EndpointGone => (
            "The receiver answered 410: it wants no more deliveries at this URL.",
            "Delete the endpoint if it means that; else set the new URL, make the endpoint active again, and replay.",
        ),
        ErrorCode::RedirectBlocked => (
            "The receiver answered with a redirect, which is not followed.",
            "Use the final URL for the endpoint: mostly https for http, a missing www., or a slash at the end; then replay.",
        ),
        ErrorCode::UnexpectedStatus => (
            "The receiver answered a status that is neither a success nor an error.",
            "Have it answer 2xx for what it took, or name its status as a success where the endpoint allows that; then replay.",
        ),
        _ => return None,
    })
}

/// What went wrong on the way.
fn by_network(code: ErrorCode) -> Option<(&'static str, &'static str)> {
    Some(match code {
        ErrorCode::DeliveryTimeout => (
            "The exchange was not complete within its deadline.",
            "Have the receiver store the delivery, answer 2xx and do the work afterwards, or give the endpoint more time; then replay.",
        ),
        ErrorCode::DnsError => (
            "The host name of the URL does not exist or has no address.",
            "Correct the URL, or the name servers of the machine that Postrider runs on; then replay.",
        ),
        ErrorCode::ConnectionRefused => (
            "Nothing listens at the address and port of the URL, or a firewall refuses the connection.",
            "Start the receiver, check its port and address, test the endpoint, then replay.",
        ),
        ErrorCode::ConnectionError => (
            "The connection broke, or there was no way to the receiver.",
            "Look whether the receiver crashes or restarts, and check the network between the two; then replay.",
        ),
        ErrorCode::TlsError => (
            "The TLS handshake failed: mostly the certificate has expired, is for another name, or lacks its chain.",
            "Renew the receiver's certificate or have it send the full chain; then replay.",
        ),
        ErrorCode::SsrfBlocked => (
            "The URL leads to an address that may not be dialled, such as one of a private network.",
            "Allow the network with --allow-network if the receiver is meant to be there; else find out who made the endpoint.",
        ),
        ErrorCode::ProtocolError => (
            "Something answered, but it was not HTTP, or it broke the rules of HTTP.",
            "Check the scheme and the port of the URL, and what really listens there; then replay.",
        ),
        _ => return None,
    })
}

/// What Postrider found, or what people did.
fn by_postrider(code: ErrorCode) -> (&'static str, &'static str) {
    match code {
        ErrorCode::Interrupted => (
            "The server ended while the attempt was under way, so that nobody knows whether the receiver took it.",
            "Replay: the receiver recognises what it has by the idempotency key; and find out why the server ended.",
        ),
        ErrorCode::Expired => (
            "The event's time to live ran out before the receiver took it.",
            "Look at the attempts before it for the cause; a replay has no time to live.",
        ),
        ErrorCode::SubscriptionDeleted => (
            "The subscription was deleted while the delivery waited.",
            "Nothing, if that was meant: dismiss it; else make the subscription again and push the event again.",
        ),
        ErrorCode::EndpointDeleted => (
            "The endpoint was deleted while the delivery waited.",
            "Nothing, if that was meant: dismiss it; else make the endpoint again and push the event again.",
        ),
        ErrorCode::DestinationDisabled => (
            "The endpoint stayed disabled for longer than deliveries wait for it.",
            "Mend what it was disabled for, make it active again, then replay.",
        ),
        ErrorCode::SecretUnreadable => (
            "A secret of the endpoint cannot be opened with the keys that the server has.",
            "Bring the key back that it was sealed under, or give the endpoint a new secret; then replay.",
        ),
        ErrorCode::PayloadTooLarge => (
            "The body would be larger than the endpoint takes.",
            "Raise the endpoint's cap, or send less with a field map or a template; then replay.",
        ),
        ErrorCode::SerializationFailed => (
            "No body of the wanted form can be made from the payload.",
            "Change the format or the field map of the subscription, or what is published; then replay.",
        ),
        ErrorCode::TemplateError => (
            "The subscription's template gave no body for the event.",
            "Preview the subscription, make its template bear what payloads lack, then replay.",
        ),
        ErrorCode::ConsecutiveFailures => (
            "The endpoint was disabled because its deliveries failed for good, one after the other.",
            "Mend the receiver, make the endpoint active again, then replay.",
        ),
        ErrorCode::CancelledByHand => {
            ("A person called the delivery off.", "Nothing, if that was meant: dismiss it; else replay or retry it.")
        }
        // Those of the other two.
        ErrorCode::Connector4xx
        | ErrorCode::Connector5xx
        | ErrorCode::RateLimited
        | ErrorCode::AuthFailed
        | ErrorCode::EndpointGone
        | ErrorCode::RedirectBlocked
        | ErrorCode::UnexpectedStatus
        | ErrorCode::DeliveryTimeout
        | ErrorCode::DnsError
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionError
        | ErrorCode::TlsError
        | ErrorCode::SsrfBlocked
        | ErrorCode::ProtocolError => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_sentences_of_its_own() {
        let is_sentence = |text: &str| text.starts_with(char::is_uppercase) && text.ends_with('.');
        for code in ErrorCode::ALL {
            let (happened, advice) = of(*code);
            assert!(is_sentence(happened) && is_sentence(advice), "{code}: {happened:?} {advice:?}");
        }
        let explanations: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| of(*code).0).collect();
        assert_eq!(explanations.len(), ErrorCode::ALL.len());
    }
}
