//! Signing secrets that sign no more.

use crate::harness::{BEGINNING, Hand, endpoint, key_ring, pass, run, subscription};
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::ports::{ConfigChange, Store};
use postrider_core::seal::Sealed;
use postrider_core::sign::ed25519_secret;
use postrider_engine::{Limits, Retention};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn sealed(secret: &str) -> Sealed {
    key_ring().seal(secret.as_bytes(), &mut |bytes| bytes.fill(7))
}

async fn only(hand: &Hand) -> Endpoint {
    hand.store.configuration().await.expect("the model never fails").endpoints.remove(0)
}

#[test]
fn what_signs_no_more_leaves_the_configuration() {
    run(async {
        let hand = Hand::new();
        let (newer, older) = (ed25519_secret(&[1; 32]), ed25519_secret(&[2; 32]));
        let secrets: Vec<Sealed> = [newer.as_str(), "new", older.as_str(), "old"].into_iter().map(sealed).collect();
        let until = Some(BEGINNING.after(30 * MINUTE));
        let rotated = Endpoint { secrets: secrets.clone(), old_secrets_until: until, ..endpoint(EndpointStatus::Active) };
        hand.configure(vec![ConfigChange::Endpoint(rotated), ConfigChange::Subscription(subscription())]).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        pass(29 * MINUTE).await;
        assert_eq!((only(&hand).await.secrets, only(&hand).await.old_secrets_until), (secrets.clone(), until));
        pass(31 * MINUTE).await;
        let ended = only(&hand).await;
        assert_eq!((ended.secrets, ended.old_secrets_until), (secrets[..2].to_vec(), None), "the newest of each kind");
        assert_eq!(ended.updated_at, BEGINNING, "nobody has changed anything");
        let known = engine.routes().endpoint(ended.id).map(|endpoint| endpoint.secrets.len());
        assert_eq!(known, Some(2));
    });
}

/// Which of them is the newest of its kind nobody can say.
#[test]
fn what_cannot_be_opened_stays() {
    run(async {
        let hand = Hand::new();
        let secrets = vec![sealed("new"), Sealed::from_bytes(vec![1]), sealed("old")];
        let rotated = Endpoint { secrets: secrets.clone(), old_secrets_until: Some(BEGINNING), ..endpoint(EndpointStatus::Active) };
        hand.configure(vec![ConfigChange::Endpoint(rotated)]).await;
        let _engine = hand.start(Limits::default(), Retention::default()).await;
        pass(60 * MINUTE).await;
        assert_eq!((only(&hand).await.secrets, only(&hand).await.old_secrets_until), (secrets, Some(BEGINNING)));
    });
}
