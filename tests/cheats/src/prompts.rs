//! Questions to measure with: every topic in every form. Those to calibrate with and those to test with share no
//! topic.

const CALIBRATION: [&str; 16] = [
    "volcanoes",
    "the printing press",
    "honey bees",
    "compound interest",
    "chess openings",
    "the water cycle",
    "Roman roads",
    "sourdough bread",
    "black holes",
    "public libraries",
    "migrating birds",
    "hash tables",
    "jazz piano",
    "vaccines",
    "knots",
    "the French Revolution",
];

const HELD_OUT: [&str; 64] = [
    "earthquakes",
    "the steam engine",
    "spiders",
    "inflation",
    "the game of go",
    "glaciers",
    "Gothic cathedrals",
    "olive oil",
    "comets",
    "postal services",
    "salmon",
    "binary search",
    "string quartets",
    "antibiotics",
    "weaving",
    "the Silk Road",
    "lightning",
    "bicycles",
    "earthworms",
    "insurance",
    "crossword puzzles",
    "tides",
    "bridges",
    "cheese",
    "the Moon",
    "museums",
    "penguins",
    "recursion",
    "flamenco",
    "sleep",
    "pottery",
    "the Inca empire",
    "fog",
    "sailing ships",
    "ants",
    "taxes",
    "poker",
    "deserts",
    "castles",
    "coffee",
    "Saturn",
    "hospitals",
    "whales",
    "public key cryptography",
    "opera",
    "nutrition",
    "calligraphy",
    "the Vikings",
    "rainbows",
    "windmills",
    "mushrooms",
    "stock markets",
    "juggling",
    "coral reefs",
    "lighthouses",
    "chocolate",
    "the Sun",
    "fire brigades",
    "wolves",
    "databases",
    "folk songs",
    "first aid",
    "origami",
    "the Ming dynasty",
];

const FORMS: [&str; 48] = [
    "What is most important about {}?",
    "Explain {} to a child.",
    "Write a short story about {}.",
    "List five facts about {}.",
    "Why do people care about {}?",
    "Write a poem about {}.",
    "What do most people get wrong about {}?",
    "How would you teach {} in school?",
    "Give me a quiz question on {}, with the answer.",
    "Summarise the history of {}.",
    "What should a beginner know about {}?",
    "Compare {} with the weather.",
    "Tell me a joke about {}.",
    "Write an email to a friend about {}.",
    "What would the world be without {}?",
    "Describe {} in one sentence.",
    "Who knows the most about {}?",
    "What are the risks of {}?",
    "How have {} changed in a hundred years?",
    "Name three books about {}.",
    "Write the first lines of a novel about {}.",
    "What can one learn from {}?",
    "How do you measure {}?",
    "Explain {} with an example.",
    "What is hard to understand about {}?",
    "Make a plan for a talk on {}.",
    "What would you ask an expert on {}?",
    "Write a dialogue on {} between two friends.",
    "Which words does one need to speak of {}?",
    "Where in the world does {} matter most?",
    "Give advice to somebody who fears {}.",
    "How much does {} cost?",
    "Write instructions for {}.",
    "What do {} and music have in common?",
    "Is {} overrated?",
    "Write a headline on {}, and the first paragraph.",
    "What happens if one ignores {}?",
    "Which numbers describe {} best?",
    "Translate the phrase \"I like {}\" into Spanish.",
    "How would a machine see {}?",
    "Write a letter of complaint about {}.",
    "What is the future of {}?",
    "Put {} into a riddle.",
    "Which mistakes are made with {}?",
    "Describe a picture of {}.",
    "Argue against {}.",
    "Write a shopping list for {}.",
    "What surprised you about {}?",
];

fn all(topics: &'static [&'static str]) -> impl Iterator<Item = String> {
    // Form by form, so that the first of them have different topics.
    FORMS
        .iter()
        .flat_map(move |form| topics.iter().map(move |topic| form.replace("{}", topic)))
}

/// Prompts to calibrate limits with.
pub fn calibration() -> impl Iterator<Item = String> {
    all(&CALIBRATION)
}

/// Prompts to try them on.
pub fn held_out() -> impl Iterator<Item = String> {
    all(&HELD_OUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_prompt_is_there_twice_and_no_topic_in_both() {
        let prompts: BTreeSet<String> = calibration().chain(held_out()).collect();
        assert_eq!(prompts.len(), (16 + 64) * 48);
        assert_eq!(held_out().count(), 3_072);
        assert!(CALIBRATION.iter().all(|topic| !HELD_OUT.contains(topic)));
    }
}
