//! `postrider top`: a live view in the terminal of how the whole of it does.

mod view;

use super::Outcome;
use super::listen::interruption;
use super::remote::{self, Failure, Flags, Remote};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use postrider_proto::v1;
use ratatui::DefaultTerminal;
use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};
use view::{RANGES, View};

/// How often keys are looked for and the view is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often the server is asked. Its numbers are written every 2 seconds.
const PERIOD: Duration = Duration::from_secs(2);
/// How many of the newest failures are asked for.
const FAILURES: i32 = 50;

/// Flags of `postrider top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Keys: q or Esc quits; 1, 2, 3 and 4 show the last 10 minutes, hour, day and week.

Example:
  postrider top --profile prod --namespace shop")]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Runs `postrider top`.
pub fn run(args: Args) -> Outcome {
    remote::run(&args.flags, |server| async move {
        if server.out.is_json() {
            return Err(Failure::usage("top draws, and has no JSON: postrider overview --json prints the same once"));
        }
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Failure::usage("top draws on a terminal, and this is none: postrider overview prints the same once"));
        }
        // What cannot be asked for is said before the screen is taken.
        let first = fetch(&server, Duration::ZERO, 0).await?;
        let mut terminal = ratatui::try_init().map_err(|error| Failure::because("cannot draw on this terminal", error))?;
        let shown = show(&server, first, &mut terminal).await;
        let restored = ratatui::try_restore().map_err(|error| Failure::because("cannot put the terminal back", error));
        shown.and(restored)
    })
}

/// What the server answers.
pub struct Data {
    overview: v1::GetOverviewResponse,
    series: v1::GetSeriesResponse,
    failures: Vec<v1::DeliverySummary>,
}

/// Asks the server, after a pause.
async fn fetch(server: &Remote, pause: Duration, range: usize) -> Result<Data, Failure> {
    sleep(pause).await;
    let overview = v1::GetOverviewRequest { namespace: server.namespace.clone() };
    let overview = server.call("postrider.v1.OverviewService/GetOverview", &overview).await?;
    let series = super::overview::series(server, RANGES[range.min(RANGES.len() - 1)]).await?;
    let filter = v1::DeliveryFilter {
        namespace: server.namespace.clone(),
        states: vec![String::from("failed"), String::from("expired"), String::from("retrying")],
        ..v1::DeliveryFilter::default()
    };
    let request = v1::ListDeliveriesRequest { filter: filter.into(), page_size: FAILURES, ..v1::ListDeliveriesRequest::default() };
    let page: v1::ListDeliveriesResponse = server.call("postrider.v1.LedgerService/ListDeliveries", &request).await?;
    Ok(Data { overview, series, failures: page.deliveries })
}

async fn show(server: &Remote, first: Data, terminal: &mut DefaultTerminal) -> Result<(), Failure> {
    let interrupted = interruption().map_err(|error| Failure::because("cannot watch for signals", error))?;
    let mut interrupted = pin!(interrupted);
    let mut view = View::new(&server.namespace, first, &server.out);
    let mut fetching = Box::pin(fetch(server, PERIOD, view.range()));
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| view.draw(frame)).map_err(|error| Failure::because("cannot draw", error))?;
        tokio::select! {
            () = &mut interrupted => return Ok(()),
            fetched = &mut fetching => {
                view.take(fetched);
                fetching = Box::pin(fetch(server, PERIOD, view.range()));
            }
            _ = frames.tick() => match pressed(&mut view)? {
                Pressed::Quit => return Ok(()),
                Pressed::Range => fetching = Box::pin(fetch(server, Duration::ZERO, view.range())),
                Pressed::Nothing => {}
            },
        }
    }
}

/// What was asked for at the keyboard.
enum Pressed {
    Quit,
    Range,
    Nothing,
}

/// Looks which keys were pressed, without waiting for one.
fn pressed(view: &mut View) -> Result<Pressed, Failure> {
    let failed = |error: io::Error| Failure::because("cannot read keys", error);
    let mut pressed = Pressed::Nothing;
    while event::poll(Duration::ZERO).map_err(failed)? {
        let Event::Key(key) = event::read().map_err(failed)? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(Pressed::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(Pressed::Quit),
            KeyCode::Char(digit @ '1'..='4') => {
                view.choose(usize::from(digit as u8 - b'1'));
                pressed = Pressed::Range;
            }
            _ => {}
        }
    }
    Ok(pressed)
}
