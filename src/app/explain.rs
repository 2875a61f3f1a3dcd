//! What the node would do with a request now, for who asks the admin API.

use super::node::Node;
use crate::admin::Question;
use crate::trial::{Ask, explain_live};

/// Explains a request by what is in force and in store; the error says what is wrong with the
/// question.
pub(super) async fn explain(node: &Node, question: Question) -> Result<serde_json::Value, String> {
    let ask = read(&question)?;
    let (generation, look, settings) = {
        // Under the lock, so that all of it is of one generation.
        let state = node.lock();
        let (generation, look) = node.in_force().look();
        (generation, look, state.current.settings.clone())
    };
    let mut explained = explain_live(&look, &ask, &settings.upstreams).await;
    settings.complete(&mut explained);
    if let Some(live) = &mut explained.live {
        live.generation = generation;
    }
    serde_json::to_value(explained).map_err(|error| error.to_string())
}

fn read(question: &Question) -> Result<Ask, String> {
    let mut ask = Ask::new(&question.method, &question.url).map_err(|error| error.to_string())?;
    if ask.method.as_str() == "PURGE" {
        return Err("a PURGE is answered before any rule: there is nothing to explain".to_owned());
    }
    ask.client = question.client.unwrap_or(ask.client);
    for (name, value) in &question.headers {
        ask.add_field(name, value).map_err(|error| error.to_string())?;
    }
    Ok(ask)
}
