use proptest::prelude::*;

use super::*;
use crate::testing::{TinyFormat, TinyModel, SPECIAL_TOKENS};
use crate::Model;

fn tiny(format: TinyFormat) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    let path = TinyModel::new(1).format(format).write(dir.path()).unwrap();
    Model::open(&path).unwrap().tokenizer().unwrap()
}

#[test]
fn the_two_formats_give_one_tokenizer() {
    let (json, gguf) = (tiny(TinyFormat::SafeTensors), tiny(TinyFormat::Gguf));
    let text = "the other <|im_end|> in théir place";
    assert_eq!(
        json.encode(text, true).unwrap(),
        gguf.encode(text, true).unwrap()
    );
    assert_eq!(json.vocab_size(), gguf.vocab_size());
    assert_eq!(
        json.end_tokens().collect::<Vec<_>>(),
        gguf.end_tokens().collect::<Vec<_>>()
    );
    let messages = [ChatMessage::user("hi")];
    assert_eq!(json.render_chat(&messages), gguf.render_chat(&messages));
}

#[test]
fn merges_are_used_and_special_tokens_are_whole() {
    let tokenizer = tiny(TinyFormat::SafeTensors);
    let id = |name: &str| tokenizer.token_id(name).unwrap();
    let ids = tokenizer.encode("the<|im_end|>in", false).unwrap();
    assert_eq!(ids, [id("the"), id("<|im_end|>"), id("in")]);
    assert!(tokenizer.is_end(id("<|im_end|>")) && tokenizer.is_end(id("<|endoftext|>")));
    assert!(!tokenizer.is_end(id("the")));
    assert_eq!(tokenizer.decode(&ids), "thein");
}

#[test]
fn a_character_comes_out_with_its_last_byte() {
    let tokenizer = tiny(TinyFormat::SafeTensors);
    let ids = tokenizer.encode("a🦙b", false).unwrap();
    assert_eq!(ids.len(), 6);
    let mut stream = tokenizer.detokenizer();
    let pieces: Vec<String> = ids.iter().map(|id| stream.push(*id)).collect();
    assert_eq!(pieces, ["a", "", "", "", "🦙", "b"]);
    assert_eq!(stream.finish(), "");

    let mut cut = tokenizer.detokenizer();
    assert_eq!(
        ids[..3].iter().map(|id| cut.push(*id)).collect::<String>(),
        "a"
    );
    assert_eq!(cut.finish(), "\u{fffd}");
}

#[test]
fn sentencepiece_names_are_read() {
    let decoding = Decoding::SentencePiece {
        strip_first_space: true,
    };
    assert_eq!(decoding.bytes("▁Hello▁"), b" Hello ");
    assert_eq!(decoding.bytes("<0xF0>"), [0xf0]);
    assert_eq!(decoding.bytes("<0xF>"), b"<0xF>");
}

/// A file with a vocabulary, and what llama.cpp makes of texts with it.
#[derive(serde::Deserialize)]
struct Vocabulary {
    file: String,
    /// The tokens of `a` with those that stand around every text.
    around_a: Vec<u32>,
    texts: Vec<Text>,
}

#[derive(serde::Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

#[test]
fn every_kind_of_vocabulary_gives_llama_cpps_tokens() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/");
    let json = include_str!("../../tests/fixtures/vocabularies.json");
    let vocabularies: Vec<Vocabulary> = serde_json::from_str(json).unwrap();
    assert_eq!(vocabularies.len(), 6);
    for vocabulary in vocabularies {
        let file = vocabulary.file;
        let path = std::path::Path::new(fixtures).join(&file);
        let tokenizer = Model::open(&path).unwrap().tokenizer().unwrap();
        assert_eq!(
            tokenizer.encode("a", true).unwrap(),
            vocabulary.around_a,
            "{file}"
        );
        assert_eq!(vocabulary.texts.len(), 14);
        for Text { text, ids } in vocabulary.texts {
            assert_eq!(
                tokenizer.encode(&text, false).unwrap(),
                ids,
                "{file}: {text:?}"
            );
            let special = text.contains("</s>") || text.contains("<|");
            if !special {
                assert_eq!(tokenizer.decode(&ids), text, "{file}");
            }
        }
        assert_eq!(tokenizer.end_tokens().count(), 1, "{file}");
    }
}

#[test]
fn a_folder_without_a_tokenizer_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = TinyModel::new(1).write(dir.path()).unwrap();
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    let model = Model::open(&path).unwrap();
    let error = model.tokenizer().unwrap_err();
    assert!(matches!(error, TokenizerError::Missing(_)));
    assert!(
        error
            .to_string()
            .contains("put the model's beside its weights"),
        "{error}"
    );
    assert!(matches!(
        model.tokenizer_digest(),
        Err(TokenizerError::Missing(_))
    ));

    std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    assert!(matches!(model.tokenizer(), Err(TokenizerError::Corrupt(_))));
}

#[test]
fn conversations_are_rendered_as_each_family_expects() {
    let none = |_: &str| false;
    let messages = [
        ChatMessage::user(" hi "),
        ChatMessage::assistant("hello"),
        ChatMessage::user("bye"),
    ];
    let with_system = [&[ChatMessage::system("Be brief.")], messages.as_slice()].concat();

    let smollm2 = "{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\\nYou are SmolLM<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + \
        message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}";
    let template = ChatTemplate::detect(Some(smollm2), none, "", "");
    assert_eq!(
        template.render(&messages),
        "<|im_start|>system\nYou are SmolLM<|im_end|>\n<|im_start|>user\n hi <|im_end|>\n\
         <|im_start|>assistant\nhello<|im_end|>\n<|im_start|>user\nbye<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    assert!(template
        .render(&with_system)
        .starts_with("<|im_start|>system\nBe brief.<|im_end|>\n"));

    let llama_3 = "{{ bos_token }}<|start_header_id|>";
    let template = ChatTemplate::detect(Some(llama_3), none, "<|begin_of_text|>", "");
    assert_eq!(
        template.render(&messages[..1]),
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n"
    );
    let llama_31 = "<|start_header_id|> Cutting Knowledge Date";
    let template = ChatTemplate::detect(Some(llama_31), none, "<B>", "");
    assert_eq!(
        template.render(&with_system[..2]),
        "<B><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n\
         Today Date: 26 Jul 2024\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\
         \n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    );

    let template = ChatTemplate::detect(Some("'<|user|>\n' + eos_token"), none, "<s>", "</s>");
    assert_eq!(
        template.render(&messages[2..]),
        "<|user|>\nbye</s>\n<|assistant|>\n"
    );

    let template = ChatTemplate::detect(None, none, "", "");
    assert_eq!(
        template.render(&with_system[..2]),
        "Be brief.\n\nUser:  hi \nAssistant:"
    );
    let by_vocabulary = ChatTemplate::detect(None, |name| name == "<|im_start|>", "", "");
    assert_eq!(
        by_vocabulary,
        ChatTemplate::ChatMl {
            default_system: None
        }
    );
}

proptest! {
    #[test]
    fn pieces_join_to_the_whole(ids in prop::collection::vec(0u32..270, 0..60)) {
        let tokenizer = tiny(TinyFormat::SafeTensors);
        let mut stream = tokenizer.detokenizer();
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        prop_assert_eq!(&text, &tokenizer.decode(&ids));
        let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id)).collect();
        prop_assert_eq!(&text, &String::from_utf8_lossy(&bytes));
        // And what the tokenizers crate makes of it.
        prop_assert_eq!(&text, &tokenizer.shared.inner.decode(&ids, true).unwrap());
    }

    #[test]
    fn encoding_loses_nothing(text in "\\PC{0,40}") {
        let tokenizer = tiny(TinyFormat::Gguf);
        prop_assume!(!SPECIAL_TOKENS.iter().any(|token| text.contains(token)));
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text, false).unwrap()), text);
    }
}
