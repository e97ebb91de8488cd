//! /v1/cluster: the nodes, who has what, and who is to have it.

use super::{Doc, JSON};
use crate::Code;
use crate::openapi::schemas::Message;
use crate::parts::{ClusterView, PlanView, RebalanceView};
use crate::route::Route;

/// Describes a route.
pub(super) fn describe(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let doc = doc.problems(&[Code::WrongState]);
    fn node(doc: Doc<'_>) -> Doc<'_> {
        doc.path("node", "The node's name.", "n1").problems(&[Code::NoNode, Code::CoordinationUnavailable])
    }
    match route {
        Route::DrainNode => node(doc.about("cluster", "Have a node hand over what it has"))
            .answer::<Message>(200, JSON, "It has begun."),
        Route::ActivateNode => node(doc.about("cluster", "Have a node take its share again"))
            .answer::<Message>(200, JSON, "It has begun."),
        Route::ReadPeer => doc
            .about("cluster", "What nodes ask each other for queries")
            .details("For nodes only: the bytes may change with each version of the software.")
            .text_answer(200, "application/octet-stream", "The state that was asked for."),
        Route::ShowPlan => doc
            .about("cluster", "Show the plan in effect, next to what is so")
            .answer::<PlanView>(200, JSON, "What the node that answers knows."),
        Route::ShowRebalance => doc
            .about("cluster", "Show what a rebalance would move")
            .details(
                "Computed by the node that answers, from what it knows: what would move if neither the distance that nodes may \
                 be from their shares (`epsilon_permille`) nor `cooldown_ms` held anything back. Nothing is changed.",
            )
            .answer::<RebalanceView>(200, JSON, "What would move."),
        Route::Rebalance => doc
            .about("cluster", "Have the leader make an even plan")
            .details("As the GET shows it, within `moves_max`. Partitions are handed over warm, as always.")
            .answer::<RebalanceView>(200, JSON, "The plan is made, and its moves have begun.")
            .problems(&[Code::Timeout, Code::CoordinationUnavailable, Code::NotReady]),
        _ => doc.about("cluster", "Show the nodes, and who has what").answer::<ClusterView>(
            200,
            JSON,
            "What the node that answers knows.",
        ),
    }
}
