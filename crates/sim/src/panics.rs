//! Panics of the engine's tasks. A runtime swallows them, and a restart would heal what they left.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes every panic from here on, on the thread where it happens.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            SEEN.with_borrow_mut(|seen| seen.push(panic.to_string()));
            usual(panic);
        }));
    });
}

/// What panicked on this thread since this was last asked.
pub(crate) fn taken() -> Vec<String> {
    SEEN.take()
}
