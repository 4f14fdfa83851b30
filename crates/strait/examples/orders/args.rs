//! The command line.

use std::path::PathBuf;

use lexopt::{
    Parser,
    prelude::{Long, Short, ValueExt as _},
};

pub(crate) const USAGE: &str = "\
Sends real orders through four services, and checks what becomes of them.

usage: orders [--orders FILE] [--config FILE]... [--members N] [--accident N] [--apart] [--json] [--dump DIR]
       orders --join [--config FILE]... [--members N]

  --orders FILE   order_id,customer_id,date,items,dollars (default: the first 10,000 of CDNOW, which come along)
  --config FILE   where the channels are; of several files later ones win (default: the memory backend;
                  ORDERS_SHAPE=queue makes them queues)
  --members N     members of each group (default: 3)
  --accident N    abort the first member of each group after N messages of the group (default: 1000; 0: never)
  --apart         leave payment and shipping to other processes, that --join
  --join          only do what --apart leaves, until SIGTERM or Ctrl-C; says on stdout how much is done
  --json          a line of figures on stdout
  --dump DIR      leave what each channel delivered, and the database, in a new folder

exit status: 0, or 1 if anything was lost, out of order or wrong, or 2 if asked for something that it does not know
";

#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) orders: Option<PathBuf>,
    pub(crate) config: Vec<PathBuf>,
    pub(crate) members: usize,
    pub(crate) accident: u64,
    pub(crate) apart: bool,
    pub(crate) join: bool,
    pub(crate) json: bool,
    pub(crate) dump: Option<PathBuf>,
}

/// Reads the command line. `None` if all that is wanted is [`USAGE`].
pub(crate) fn parse(mut parser: Parser) -> Result<Option<Args>, lexopt::Error> {
    let mut args = Args { members: 3, accident: 1000, ..Args::default() };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("orders") => args.orders = Some(parser.value()?.into()),
            Long("config") => args.config.push(parser.value()?.into()),
            Long("members") => args.members = parser.value()?.parse_with(members)?,
            Long("accident") => args.accident = parser.value()?.parse()?,
            Long("apart") => args.apart = true,
            Long("join") => args.join = true,
            Long("json") => args.json = true,
            Long("dump") => args.dump = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(args))
}

fn members(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|members| (1..=100).contains(members)).ok_or("expected 1 to 100 members")
}
