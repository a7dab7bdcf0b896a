//! Bodies that templates make (contract of the RPC API, section 6).

use super::{RpcHead, Unrenderable};
use crate::template::{Context, Source, Template, TemplateError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A template and whether bodies are made with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateBody {
    /// The template.
    pub source: Source,
    /// Whether it makes the body. Otherwise it is only kept.
    pub enabled: bool,
}

impl TemplateBody {
    /// Makes the body of one attempt, of at most `cap` bytes. It can take some tenths of a second and some dozens of MiB.
    pub fn render(&self, head: &RpcHead<'_>, payload: &[u8], cap: usize) -> Result<Bytes, Unrenderable> {
        let made = self.with(head, payload, Template::render)?;
        within(made, cap)
    }

    /// The same, where it takes no more than a moment; see [`Template::render_briefly`].
    pub fn render_briefly(&self, head: &RpcHead<'_>, payload: &[u8], cap: usize) -> Option<Result<Bytes, Unrenderable>> {
        match self.with(head, payload, Template::render_briefly) {
            Ok(made) => made.map(|made| within(made, cap)),
            Err(unreadable) => Some(Err(unreadable)),
        }
    }

    fn with<T>(&self, head: &RpcHead<'_>, payload: &[u8], render: impl FnOnce(&Template, &Context<'_>) -> T) -> Result<T, Unrenderable> {
        let template = self.source.template().map_err(|error| Unrenderable::Template(error.clone()))?;
        let event_id = head.event.to_string();
        let context = Context { event_id: &event_id, event_name: head.event_type, timestamp: head.at, attempt: head.attempt, payload };
        Ok(render(template, &context))
    }
}

fn within(made: Result<Bytes, TemplateError>, cap: usize) -> Result<Bytes, Unrenderable> {
    match made {
        Ok(body) if body.len() > cap => Err(Unrenderable::TooLarge { limit: cap }),
        Ok(body) => Ok(body),
        Err(error) => Err(Unrenderable::Template(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{BodyForm, Format, Serializer};
    use crate::error::ErrorCode;
    use crate::id::EventId;
    use crate::time::Timestamp;
    use uuid::Uuid;

    const HEAD: RpcHead<'static> = RpcHead {
        event: EventId::new(Uuid::from_u128(0x0b8f_6c1e_2f4a_4d7b_9c33_5a1d_e0c7_f001)),
        event_type: "order.paid",
        at: Timestamp::from_micros(1_767_600_000_999_999),
        attempt: 3,
    };

    fn body(text: &str) -> TemplateBody {
        TemplateBody { source: Source::parse(text).expect("a template"), enabled: true }
    }

    #[test]
    fn a_template_has_the_whole_body_to_itself() {
        let text = r#"{"id":"{{.event_id}}","of":"{{.event_name}}","at":"{{.timestamp}}","try":{{.attempt}},"n":{{.payload.n}}}"#;
        let expected =
            r#"{"id":"0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001","of":"order.paid","at":"2026-01-05T08:00:00Z","try":3,"n":9007199254740993}"#;
        let (body, payload) = (body(text), br#"{"n":9007199254740993}"#);
        let made = Ok(Bytes::from_static(expected.as_bytes()));
        assert_eq!(body.render(&HEAD, payload, usize::MAX), made);
        assert_eq!(body.render_briefly(&HEAD, payload, expected.len()), Some(made));
        let too_large = Unrenderable::TooLarge { limit: expected.len() - 1 };
        assert_eq!(too_large.code(), ErrorCode::PayloadTooLarge);
        assert_eq!(body.render(&HEAD, payload, expected.len() - 1), Err(too_large.clone()));
        assert_eq!(body.render_briefly(&HEAD, payload, expected.len() - 1), Some(Err(too_large)));
    }

    #[test]
    fn a_template_that_fails_says_where() {
        let failing = body("ok\n{{index .payload.list 7}}");
        let failed = failing.render(&HEAD, br#"{"list":[1]}"#, usize::MAX).expect_err("it fails");
        assert_eq!(failed.code(), ErrorCode::TemplateError);
        assert!(failed.to_string().starts_with("the template failed: line 2: "), "{failed}");
        assert_eq!(failing.render_briefly(&HEAD, br#"{"list":[1]}"#, usize::MAX), Some(Err(failed)));
        let unreadable = serde_json::from_str::<TemplateBody>(r#"{"source":"{{","enabled":true}"#).expect("a body");
        assert_eq!(unreadable.render(&HEAD, b"{}", usize::MAX).expect_err("no template").code(), ErrorCode::TemplateError);
        assert!(unreadable.render_briefly(&HEAD, b"{}", usize::MAX).is_some_and(|made| made.is_err()));
        assert_eq!(body("{{range 30000}}{{end}}").render_briefly(&HEAD, b"{}", usize::MAX), None);
    }

    #[test]
    fn it_is_stored_as_text() {
        let form = BodyForm::Template(body("{{.attempt}}"));
        let text = r#"{"template":{"source":"{{.attempt}}","enabled":true}}"#;
        assert_eq!(serde_json::to_string(&form).expect("JSON"), text);
        assert_eq!(serde_json::from_str::<BodyForm>(text).expect("a form"), form);
        assert_eq!((form.serializer(), form.content_type()), (Serializer::Made(Format::Json), "application/json"));
    }
}
