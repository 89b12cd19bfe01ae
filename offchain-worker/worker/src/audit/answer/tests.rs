//! Answers as they should be, and all that can be wrong with them.

use super::*;
use quipu_client::ends::{Digests, TextStream};
use quipu_primitives::{DType, ModelConfig};
use quipu_testkit::TinyFiles;

const HIDDEN: usize = 32;
const END: u32 = 0;

/// A model whose last row says the next token outright. Tokens are the bytes of texts.
struct Bytes(ModelConfig);

struct Text;

impl TextStream for Text {
    fn push(&mut self, token: u32) -> String {
        char::from(token as u8).to_string()
    }
    fn finish(self: Box<Self>) -> String {
        ".".into()
    }
}

fn row(token: u32) -> Vec<f32> {
    let mut row = vec![0.0; HIDDEN];
    row[0] = token as f32;
    row
}

impl Ends for Bytes {
    fn config(&self) -> &ModelConfig {
        &self.0
    }
    fn digests(&self) -> Digests {
        unreachable!("nobody asks")
    }
    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, EndsError> {
        match prompt {
            Prompt::Text(text) if !text.is_empty() => Ok(text.bytes().map(u32::from).collect()),
            _ => Err(EndsError::Prompt("empty".into())),
        }
    }
    fn is_end(&self, token: u32) -> bool {
        token == END
    }
    fn text_stream(&self) -> Box<dyn TextStream> {
        Box::new(Text)
    }
    fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, EndsError> {
        Ok(tokens.iter().flat_map(|token| row(*token)).collect())
    }
    fn logits(&self, row: &[f32]) -> Result<Vec<f32>, EndsError> {
        let mut logits = vec![0.0; 128];
        logits[row[0] as usize] = 1.0;
        Ok(logits)
    }
}

fn ends() -> Bytes {
    Bytes(TinyFiles::new(1).manifest().config)
}

fn rows(tokens: &[u32], dtype: DType) -> Activations {
    let values: Vec<f32> = tokens.iter().flat_map(|token| row(*token)).collect();
    Activations::rounded(&values, HIDDEN as u32, dtype).unwrap()
}

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

fn question(answer: &str, finish: FinishReason) -> Question {
    Question {
        prompt: b"ask".to_vec(),
        max_tokens: 5,
        answer: answer.as_bytes().to_vec(),
        finish,
    }
}

/// What is said where these tokens went in, and the model chose those after each of them.
fn judged(
    question: &Question,
    input: &[u32],
    chosen: &[u32],
    dtype: DType,
) -> Result<Vec<u32>, Wrong> {
    check(&ends(), question, &rows(input, dtype), &rows(chosen, dtype)).unwrap()
}

/// The same, of an answer that the model chose so: the last token is not led through.
fn answered(question: &Question, prompt: &str, tokens: &[u32]) -> Result<Vec<u32>, Wrong> {
    let mut input = bytes(prompt);
    // What comes out before the answer begins is of no account.
    let mut chosen = vec![7; input.len() - 1];
    chosen.extend_from_slice(tokens);
    input.extend_from_slice(&tokens[..tokens.len() - 1]);
    judged(question, &input, &chosen, DType::F32)
}

#[test]
fn an_answer_that_the_model_ended_or_that_is_long_enough_is_right() {
    let ended = [bytes("hey"), vec![END]].concat();
    let stop = question("hey.", FinishReason::Stop);
    assert_eq!(answered(&stop, "ask", &ended), Ok(ended.clone()));
    let long = bytes("hello");
    let length = question("hello.", FinishReason::Length);
    assert_eq!(answered(&length, "ask", &long), Ok(long));
    // Rows that were rounded on the wire say the same.
    for dtype in [DType::F16, DType::Bf16] {
        let input = [bytes("ask"), bytes("hey")].concat();
        let chosen = [vec![7, 7], ended.clone()].concat();
        assert_eq!(judged(&stop, &input, &chosen, dtype), Ok(ended.clone()));
    }
}

#[test]
fn another_prompt_is_found_wherever_it_differs() {
    let ended = [bytes("hey"), vec![END]].concat();
    let stop = question("hey.", FinishReason::Stop);
    assert_eq!(answered(&stop, "bsk", &ended), Err(Wrong::Prompt(0)));
    assert_eq!(answered(&stop, "asc", &ended), Err(Wrong::Prompt(2)));
    assert_eq!(answered(&stop, "xask", &ended), Err(Wrong::Prompt(0)));
    // Shorter than what was asked.
    assert_eq!(answered(&stop, "as", &[END]), Err(Wrong::Prompt(2)));
    // Longer: what was put behind it is no choice of the model's.
    assert_eq!(answered(&stop, "ask?", &ended), Err(Wrong::Token(3)));
}

#[test]
fn tokens_that_the_model_did_not_choose_are_found() {
    let stop = question("hey.", FinishReason::Stop);
    let input = [bytes("ask"), bytes("hoy")].concat();
    let chosen = [vec![7, 7], bytes("hey"), vec![END]].concat();
    let found = judged(&stop, &input, &chosen, DType::F32);
    assert_eq!(found, Err(Wrong::Token(4)));
}

#[test]
fn what_is_cut_off_or_goes_on_is_found() {
    let short = question("he.", FinishReason::Length);
    assert_eq!(answered(&short, "ask", &bytes("he")), Err(Wrong::CutOff(4)));
    let pretends = question("he.", FinishReason::Stop);
    assert_eq!(
        answered(&pretends, "ask", &bytes("he")),
        Err(Wrong::CutOff(4))
    );
    let stop = question("h.", FinishReason::Stop);
    let beyond = [bytes("h"), vec![END], bytes("a")].concat();
    assert_eq!(answered(&stop, "ask", &beyond), Err(Wrong::WentOn(4)));
    let long = question("hello.", FinishReason::Length);
    assert_eq!(
        answered(&long, "ask", &bytes("hellos")),
        Err(Wrong::WentOn(7))
    );
    // Not even the prompt went through.
    let nothing = judged(&stop, &[], &[], DType::F32);
    assert_eq!(nothing, Err(Wrong::Prompt(0)));
}

#[test]
fn another_text_or_reason_is_found() {
    let ended = [bytes("hey"), vec![END]].concat();
    for other in ["hey", "hey..", "", "old answer"] {
        let other = question(other, FinishReason::Stop);
        assert_eq!(answered(&other, "ask", &ended), Err(Wrong::Text));
    }
    let reason = question("hey.", FinishReason::Length);
    assert_eq!(answered(&reason, "ask", &ended), Err(Wrong::Reason));
}

#[test]
fn what_can_t_be_judged_is_nobodys_fault() {
    let stop = question("hey.", FinishReason::Stop);
    let (one, two) = (rows(&[1], DType::F32), rows(&[1, 2], DType::F32));
    let (input, output) = (1, 2);
    assert_eq!(
        check(&ends(), &stop, &one, &two),
        Err(Unclear::Count { input, output })
    );
    let empty = Question {
        prompt: Vec::new(),
        ..stop
    };
    let found = check(&ends(), &empty, &one, &one);
    assert!(matches!(found, Err(Unclear::Ends(_))), "{found:?}");
}
