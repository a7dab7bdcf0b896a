//! Changes of a subscription, by the rules of the API that it was made through.

use super::wanted::{Conditions, foreign};
use super::{find_subscription, subscription_id};
use crate::auth::Access;
use crate::http::json::doubled;
use crate::http::{App, Problem};
use crate::items::destination_request::MAX_NAME_BYTES;
use crate::rpc::access::failed_precondition;
use crate::rpc::subscriptions::wanted::{body, template};
use crate::rpc::subscriptions::{check_unique, room};
use crate::rpc::webhooks::scope::Want;
use postrider_core::body::{BodyForm, FieldMap};
use postrider_core::catalog::{CATALOG, EVENT, WEBHOOK};
use postrider_core::compatibility::{Incompatible, Proposal, check};
use postrider_core::filter::Match;
use postrider_core::id::SubscriptionId;
use postrider_core::ports::ConfigChange;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::template::Source;
use postrider_engine::Routes;
use postrider_proto::v1;

/// What is wanted of a subscription.
#[derive(Debug)]
struct Wanted {
    name: Option<String>,
    active: Option<bool>,
    conditions: Option<Conditions>,
    template: Want<Source>,
    template_enabled: Want<bool>,
    field_map: Want<FieldMap>,
}

/// Changes what is sent; answers the id.
pub(super) async fn update(app: &App, access: &Access, request: v1::UpdateSubscriptionRequest) -> Result<SubscriptionId, Problem> {
    let id = subscription_id(&request.subscription_id)?;
    let (wanted, now) = (Wanted::read(request)?, app.engine.now());
    app.engine
        .edit(|routes| {
            let before = find_subscription(routes, access, id)?;
            let changed = wanted.put(routes, before)?;
            if changed == **before {
                return Ok((Vec::new(), ()));
            }
            let changed = Subscription { updated_at: now, ..changed };
            room::check(routes, std::slice::from_ref(&changed))?;
            Ok::<_, Problem>((vec![ConfigChange::Subscription(changed)], ()))
        })
        .await?;
    Ok(id)
}

impl Wanted {
    fn read(sent: v1::UpdateSubscriptionRequest) -> Result<Self, Problem> {
        let source = match sent.template.as_deref() {
            None => Want::Keep,
            Some("") => Want::Default,
            Some(text) => Want::Set(template("template", text)?),
        };
        Ok(Wanted {
            name: sent.name.map(name).transpose()?,
            active: sent.active,
            conditions: sent.conditions.as_option().map(Conditions::read).transpose()?,
            template: source,
            template_enabled: sent.template_enabled.map_or(Want::Keep, Want::Set),
            field_map: sent.field_map.as_deref().map_or(Ok(Want::Keep), field_map)?,
        })
    }

    /// The subscription as it is wanted, with its old time of change.
    fn put(&self, routes: &Routes, before: &Subscription) -> Result<Subscription, Problem> {
        let mut subscription = before.clone();
        if let Some(name) = &self.name {
            if name.is_empty() && before.origin == Origin::Items {
                return Err(Problem::bad_request("name: a subscription made through the Items API has one"));
            }
            subscription.name.clone_from(name);
        }
        subscription.active = self.active.unwrap_or(before.active);
        if let Some(conditions) = &self.conditions {
            conditions.check(before)?;
            subscription = conditions.clone().put(subscription);
        }
        if !self.field_map.keeps() && before.origin != Origin::Items {
            return Err(foreign("field_map", before.origin, Origin::Items));
        }
        match before.origin {
            Origin::Items if self.conditions.is_some() || !self.field_map.keeps() => self.fit(&mut subscription)?,
            Origin::Rpc => self.check_unique(routes, &subscription)?,
            Origin::Items | Origin::Tasks => {}
        }
        subscription.body = body(&subscription, &self.template, &self.template_enabled, ("template", "template_enabled"))?;
        Ok(subscription)
    }

    /// A webhook has one subscription to an event type.
    fn check_unique(&self, routes: &Routes, subscription: &Subscription) -> Result<(), Problem> {
        let patterns = self.conditions.as_ref().map_or(&[][..], |conditions| &conditions.patterns[..]);
        patterns.iter().try_for_each(|pattern| check_unique(routes, subscription.endpoint, pattern, Some(subscription.id)))
    }

    /// Checks whether the parts of a binding go together, as its own API does.
    fn fit(&self, subscription: &mut Subscription) -> Result<(), Problem> {
        let (envelope, before) = match &subscription.body {
            BodyForm::Items(form) => (Some(form.envelope), form.field_map.clone()),
            BodyForm::Raw | BodyForm::Rpc | BodyForm::Template(_) => (None, None),
        };
        let field_map = match &self.field_map {
            Want::Keep => before,
            Want::Default => None,
            Want::Set(map) => Some(map.clone()),
        };
        let [only] = subscription.patterns.as_slice() else {
            return Err(failed_precondition(
                "this subscription is to several event types, and the parts of a binding go with one: send conditions with exactly one event type",
            ));
        };
        let event_type = only.to_string();
        let proposal = Proposal {
            event_type: &event_type,
            matches: subscription.matches.as_ref().map(Match::as_json),
            deliverable_type: EVENT,
            serializer_format: subscription.body.serializer().as_str(),
            envelope,
            field_map,
            connector: WEBHOOK,
        };
        subscription.body = check(&CATALOG, proposal).map_err(|why| Problem::bad_request(incompatible(&why)))?.body;
        Ok(())
    }
}

/// What does not go together, with the field as this contract calls it.
fn incompatible(why: &Incompatible) -> String {
    match why {
        Incompatible::Filter(fault) => {
            format!("{}: {}", fault.path.replacen("signal_filter.event_type", "conditions.event_types", 1), fault.message)
        }
        other => format!("{}: {other}", other.path()),
    }
}

fn name(text: String) -> Result<String, Problem> {
    if text.len() > MAX_NAME_BYTES {
        return Err(Problem::bad_request(format!("name: at most {MAX_NAME_BYTES} bytes")));
    }
    Ok(text)
}

fn field_map(text: &str) -> Result<Want<FieldMap>, Problem> {
    if text.trim().is_empty() {
        return Ok(Want::Default);
    }
    let map = FieldMap::parse(text).map_err(|fault| Problem::bad_request(fault.under("field_map").to_string()))?;
    match doubled(text) {
        Some(path) => Err(Problem::bad_request(format!("field_map: {path} is there twice"))),
        // One that does nothing is none.
        None => Ok(map.map_or(Want::Default, Want::Set)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_sent_stays_and_what_is_empty_goes() {
        let nothing = Wanted::read(v1::UpdateSubscriptionRequest::default()).expect("nothing");
        assert!(nothing.template.keeps() && nothing.template_enabled.keeps() && nothing.field_map.keeps() && nothing.conditions.is_none());
        let sent = v1::UpdateSubscriptionRequest {
            template: Some(String::new()),
            field_map: Some(String::from("{}")),
            ..v1::UpdateSubscriptionRequest::default()
        };
        let gone = Wanted::read(sent).expect("a request");
        assert_eq!((gone.template, gone.field_map), (Want::Default, Want::Default));
        let filter = Incompatible::Filter(postrider_core::invalid::Invalid::new("signal_filter.event_type", "is odd"));
        assert_eq!(incompatible(&filter), "conditions.event_types: is odd");
        for (text, part) in [("{", "field_map"), (r#"{"drop":["a"],"static":{"b":{"c":1,"c":2}}}"#, "static.b.c is there twice")] {
            let refused = field_map(text).expect_err(text);
            assert!(refused.status == 400 && refused.message.contains(part), "{}", refused.message);
        }
        let long = v1::UpdateSubscriptionRequest { name: Some("x".repeat(MAX_NAME_BYTES + 1)), ..v1::UpdateSubscriptionRequest::default() };
        assert_eq!(Wanted::read(long).expect_err("too long").status, 400);
    }
}
