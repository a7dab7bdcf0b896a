//! `postrider nodes` and `postrider settings`: for who runs the server.

use super::Outcome;
use super::remote::table::{Cell, Column};
use super::remote::text::{grouped, moment};
use super::remote::{self, Failure, Flags, Listing, Output, Remote, Tone};
use postrider_proto::v1;

const NODE_COLUMNS: [Column; 7] = [
    Column::whole("NAME"),
    Column::whole("STATE"),
    Column::number("SLOTS"),
    Column::whole("STARTED"),
    Column::whole("LAST HEARTBEAT"),
    Column::whole("RELEASE"),
    Column::text("ADDRESS", 16),
];

const SETTING_COLUMNS: [Column; 3] = [Column::whole("NAME"), Column::text("VALUE", 20), Column::whole("FROM")];

/// Flags of `postrider nodes`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider nodes --all")]
pub struct NodesArgs {
    #[command(flatten)]
    flags: Flags,
    /// Those too that left or were taken for dead.
    #[arg(long)]
    all: bool,
}

/// Flags of `postrider settings`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider settings
  postrider settings retention --explain")]
pub struct SettingsArgs {
    #[command(flatten)]
    flags: Flags,
    /// Only those whose name contains this.
    #[arg(value_name = "TEXT", default_value = "", hide_default_value = true)]
    text: String,
    /// Say what each of them does.
    #[arg(long)]
    explain: bool,
}

/// Runs `postrider nodes`.
pub fn nodes(args: NodesArgs) -> Outcome {
    let NodesArgs { flags, all } = args;
    remote::run(&flags, |server| async move {
        let answer: v1::ListNodesResponse = server.call("postrider.v1.AdminService/ListNodes", &v1::ListNodesRequest::default()).await?;
        let mut listing = Listing::new(&server.out, &NODE_COLUMNS);
        for node in answer.nodes.iter().filter(|node| all || !node.ended_at.is_set()) {
            listing.add(node, |out| node_row(out, node))?;
        }
        listing.end("nodes", None)
    })
}

fn node_row(out: &Output, node: &v1::Node) -> Vec<Cell> {
    let name = if node.is_this { format!("{} *", node.name) } else { node.name.clone() };
    let state = match moment(node.ended_at.as_option()) {
        Some(_) => Cell::toned("ended", Tone::Dim),
        None => Cell::toned("alive", Tone::Good),
    };
    let (started, heard) = (out.time(node.started_at.as_option()), out.time(node.last_heartbeat_at.as_option()));
    let slots = grouped(i64::from(node.slots));
    vec![name.into(), state, slots.into(), started.into(), heard.into(), node.release.as_str().into(), node.address.as_str().into()]
}

/// Runs `postrider settings`.
pub fn settings(args: SettingsArgs) -> Outcome {
    let SettingsArgs { flags, text, explain } = args;
    remote::run(&flags, |server| async move { list_settings(&server, &text, explain).await })
}

async fn list_settings(server: &Remote, text: &str, explain: bool) -> Result<(), Failure> {
    let answer: v1::GetSettingsResponse = server.call("postrider.v1.AdminService/GetSettings", &v1::GetSettingsRequest::default()).await?;
    let wanted = || answer.settings.iter().filter(|setting| setting.name.contains(text));
    if explain && !server.out.is_json() {
        for setting in wanted() {
            let (name, value) = (remote::clean(&setting.name), remote::clean(&setting.value));
            let name = server.out.paint(Tone::Strong, &name);
            server.out.print(&format!(
                "{name} = {value}  ({})\n  {}\n",
                remote::clean(&setting.source),
                remote::clean(&setting.description)
            ))?;
        }
        return Ok(());
    }
    let mut listing = Listing::new(&server.out, &SETTING_COLUMNS);
    for setting in wanted() {
        let tone = if setting.source == "default" { Tone::Dim } else { Tone::Plain };
        listing
            .add(setting, |_| vec![setting.name.as_str().into(), Cell::toned(&setting.value, tone), Cell::toned(&setting.source, tone)])?;
    }
    listing.end("settings of this name", None)
}
