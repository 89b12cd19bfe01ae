//! `quipu chat`

use super::{args::ChatArgs, ask, context::Context, error::CliError, print::Printer, swarm};
use quipu_client::{ClientError, Ends, EndsError, Finish, Message, Prompt, Request};
use tokio::io::{AsyncBufReadExt, BufReader};

/// What can be typed besides messages.
const HELP: &str = "/reset forgets the conversation, /exit or Ctrl-D ends it, Ctrl-C stops an \
                    answer\n";

pub async fn chat(
    args: ChatArgs,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let client = swarm::client(&args.ask, context).await?;
    let subnet = args.ask.subnet;
    let info = context
        .chain
        .subnet(subnet)
        .await?
        .ok_or(CliError::NoSubnet(subnet))?;
    let room = info
        .manifest
        .config
        .context_length
        .saturating_sub(args.ask.max_tokens);
    let mut history = History::new(args.system, room as usize);
    printer.aside(HELP);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        printer.aside("> ");
        let line = lines.next_line().await.map_err(|source| CliError::Io {
            what: "the input can't be read",
            source,
        })?;
        let line = match line.as_deref().map(str::trim) {
            None | Some("/exit") => return Ok(()),
            Some("") => continue,
            Some("/reset") => {
                history.reset();
                continue;
            }
            Some("/help") => {
                printer.aside(HELP);
                continue;
            }
            Some(line) => line.to_owned(),
        };
        history.say(Message::user(line));
        let forgotten = history.fit(client.ends().as_ref())?;
        if forgotten > 0 {
            printer.aside(&format!(
                "[{forgotten} older messages no longer fit the context]\n"
            ));
        }
        let prompt = Prompt::Chat(history.messages());
        let request = Request::new(subnet, prompt, args.ask.sampling());
        match ask::stream(&client, request, printer).await {
            Ok(generation) => {
                printer.stream("\n")?;
                printer.aside(&format!("{}\n", ask::summary(&generation)));
                if printer.json() {
                    printer.result(ask::value(&generation), String::new)?;
                }
                if generation.finish == Finish::Cancelled {
                    printer.aside("[stopped]\n");
                }
                history.say(Message::assistant(generation.text));
            }
            // The conversation can go on after what may pass.
            Err(CliError::Client(error)) if may_pass(&error) => {
                printer.aside(&format!("\nerror: {error}\n"));
                history.take_back();
            }
            Err(error) => return Err(error),
        }
    }
}

/// May the next message fare better?
fn may_pass(error: &ClientError) -> bool {
    use quipu_worker_core::{Classified, Fault};
    matches!(error, ClientError::TooLong { .. })
        || !error.is_fatal() && matches!(error.fault(), Fault::Environment | Fault::Peer)
}

/// A conversation, of which the oldest is forgotten when the context is full.
#[derive(Debug)]
pub struct History {
    system: Option<String>,
    said: Vec<Message>,
    room: usize,
}

impl History {
    /// Nothing was said. Prompts may have `room` tokens.
    pub fn new(system: Option<String>, room: usize) -> Self {
        History {
            system,
            said: Vec::new(),
            room,
        }
    }

    /// Something was said.
    pub fn say(&mut self, message: Message) {
        self.said.push(message);
    }

    /// The last message was not answered, and counts as not said.
    pub fn take_back(&mut self) {
        self.said.pop();
    }

    /// Forgets everything but the instructions.
    pub fn reset(&mut self) {
        self.said.clear();
    }

    /// The conversation.
    pub fn messages(&self) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::system(text.clone()));
        system.chain(self.said.iter().cloned()).collect()
    }

    /// Forgets the oldest exchanges until the conversation fits, and says how many messages that
    /// were. The last message always stays.
    pub fn fit(&mut self, ends: &dyn Ends) -> Result<usize, EndsError> {
        let mut forgotten = 0;
        while self.said.len() > 1 {
            let tokens = ends.encode(&Prompt::Chat(self.messages()))?;
            if tokens.len() <= self.room {
                break;
            }
            // A question goes with its answer.
            let exchange = 2.min(self.said.len() - 1);
            self.said.drain(..exchange);
            forgotten += exchange;
        }
        Ok(forgotten)
    }
}
