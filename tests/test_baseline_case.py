"""CASE against its equations, one pair at a time and in plain loops. Source: Zhou et al. (2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from baseline_cases import tiny
from helpers import (
    DIM,
    Pair,
    array,
    close,
    collate,
    differ,
    normal,
    random_pairs,
    randomise,
    sigmoid,
    slow_attention,
    slow_distribution,
    slow_embedding,
    slow_encoder,
    slow_feed_forward,
    slow_knowledge,
    slow_linear,
    slow_norm,
    slow_softmax,
    unit,
)
from torch import nn

from ctsm_lib.corpus import CLS, PAD, SOS, SYS, USR
from ctsm_workbench.baselines.case import Alignment, Graph, GraphLayer, divergence, last_utterance
from ctsm_workbench.baselines.kemp import affect_edges, without_gaps

PAIRS = random_pairs(6, seed=3)

# ---------------------------------------------------------------------------------- slow reference


@dataclass
class Read:
    """Results of the equations for one pair."""

    context: np.ndarray  # L D, as the decoder reads it
    cognition: np.ndarray  # 4 D
    affect: np.ndarray  # N D
    prior: list[tuple[list[float], np.ndarray]]  # weights and sum, of cognition and affect
    reaction: np.ndarray  # D
    logits: np.ndarray  # 32


def slow_graph(
    layer: GraphLayer, nodes: np.ndarray, reads: list[set[int]], relation: Any = None
) -> np.ndarray:
    """Each node by itself attends to the nodes in its set; an edge's relation is added to them."""
    nodes = slow_norm(layer.node_norm, nodes)
    rows = []
    for i, node in enumerate(nodes):
        neighbours = [
            nodes[j] + (0 if relation is None else relation(i, j)) for j in sorted(reads[i])
        ]
        rows.append(
            slow_norm(
                layer.edge_norm, [node + slow_attention(layer.attention, [node], neighbours)[0][0]]
            )[0]
        )
    return slow_norm(layer.ffn_norm, np.array(rows) + slow_feed_forward(layer.ffn, np.array(rows)))


def slow_select(query: np.ndarray, nodes: np.ndarray) -> tuple[list[float], np.ndarray]:
    weights = slow_softmax([float(query @ node) / math.sqrt(DIM) for node in nodes])
    return weights, sum(weight * node for weight, node in zip(weights, nodes, strict=True))


def slow_read(case: nn.Module, pair: Pair) -> Read:
    context = slow_encoder(case.encoder, slow_embedding(case.embed, pair.context, pair.speaker))
    inferences = slow_knowledge(
        case.knowledge, [slow_embedding(case.embed, [CLS, *ids]) for ids in pair.knowledge]
    )
    first = len(pair.context)
    while first > 0 and pair.speaker[first - 1] == pair.speaker[-1]:
        first -= 1
    star = [{0, 1, 2, 3, 4}, *({0, node} for node in range(1, 5))]
    table = array(case.cognition.relations)
    nodes = np.array([context[first:].mean(axis=0), *inferences[:4]])
    cognition = slow_graph(
        case.cognition.layer, nodes, star, lambda i, j: table[0 if i == j else max(i, j)]
    )[1:]

    ids, nodes, reads = (
        list(pair.context),
        list(context),
        [{i, max(i - 1, 0), 0} for i in range(len(context))],
    )
    for place, word in enumerate(pair.context):
        if (concept := int(case.concepts[word])) != PAD:
            reads[place].add(len(nodes))
            reads.append({len(nodes), place})
            nodes.append(array(case.embed.words.weight)[concept] * case.embed.scale)
            ids.append(concept)
    weights = slow_softmax([float(case.intensity[i]) for i in ids])
    affect = slow_graph(case.affect, np.array(nodes), reads)
    affect = np.array(
        [len(ids) * weight * node for weight, node in zip(weights, affect, strict=True)]
    )

    query = np.tanh(array(case.prior.weight) @ context[0])
    prior = [slow_select(query, cognition), slow_select(query, affect)]
    felt = prior[1][1]
    beside = [array(case.refine_in.weight) @ np.concatenate([h, inferences[4]]) for h in context]
    refined = slow_encoder(case.refine, np.array(beside))
    reaction = slow_linear(case.refine_out, refined[:1])[0]
    joined = slow_linear(case.join, [np.concatenate([felt, reaction])])
    share = float(sigmoid(slow_linear(case.gate, joined)[0][0]))
    emotion = share * felt + (1 - share) * reaction
    logits = array(case.classify.weight) @ emotion
    memory = []
    for state in context:
        hidden = array(case.merge_in.weight) @ np.concatenate([state, prior[0][1], emotion])
        memory.append(array(case.merge_out.weight) @ np.maximum(hidden, 0))
    return Read(np.array(memory), cognition, affect, prior, reaction, logits)


def slow_case_decoder(
    decoder: nn.Module, embedded: np.ndarray, read: Read
) -> tuple[np.ndarray, np.ndarray]:
    """States [T, D] and the last layer's attention to the context [T, L]."""
    states = embedded
    for layer in decoder.layers:
        normed = slow_norm(layer.self_norm, states)
        states = (
            states + slow_attention(layer.self_attention, normed, normed, lambda i, j: j <= i)[0]
        )
        states = (
            states
            + slow_attention(
                layer.cognition_attention, slow_norm(layer.cognition_norm, states), read.cognition
            )[0]
        )
        states = (
            states
            + slow_attention(
                layer.affect_attention, slow_norm(layer.affect_norm, states), read.affect
            )[0]
        )
        attended, weights = slow_attention(
            layer.cross_attention, slow_norm(layer.cross_norm, states), read.context
        )
        states = states + attended
        normed = slow_norm(layer.ffn_norm, states)
        states = states + slow_feed_forward(layer.ffn, normed, causal=True)
    return slow_norm(decoder.norm, states), weights.mean(axis=0)


def slow_alignment(
    alignment: Alignment,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    given: Sequence[bool],
) -> list[float]:
    """Losses of all anchors of one pair of views, both ways, among dialogues that have both."""
    one = [unit(array(alignment.first.weight) @ view) for view in first]
    two = [unit(array(alignment.second.weight) @ view) for view in second]
    there = [row for row, known in enumerate(given) if known]
    losses = []
    for anchors, keys in ((one, two), (two, one)):
        for row in there:
            scores = [float(anchors[row] @ keys[other]) / alignment.temperature for other in there]
            losses.append(-math.log(slow_softmax(scores)[there.index(row)]))
    return losses


def model(**changes: Any) -> nn.Module:
    return tiny("case", **changes).double()


# -------------------------------------------------------------------------------- the whole system


def test_graphs_and_emotion_equal_the_equations() -> None:
    """G_cog, G_aff, the prior's selection, the gated emotion, and the decoder's memory."""
    case = model().eval()
    memory = case.encode(collate(PAIRS, extra=3))
    found = 0
    for row, pair in enumerate(PAIRS):
        read = slow_read(case, pair)
        close(memory.states[row, : len(pair.context)], read.context)
        close(memory.cognition.nodes[row], read.cognition)
        assert memory.cognition.mask[row].all()
        mask = memory.affect.mask[row]
        close(memory.affect.nodes[row][mask], read.affect)
        close(memory.emotion_logits[row], read.logits)
        found += len(read.affect) - len(read.context)
    assert found > 5 and not memory.losses


@pytest.mark.parametrize(("layers", "ffn"), [(1, "linear"), (2, "linear"), (2, "conv")])
def test_words_equal_the_equations(layers: int, ffn: str) -> None:
    """Each layer reads the answer so far, cognition, affect and context one after another."""
    case, expected = model(decoder_layers=layers, ffn=ffn).eval(), []
    for pair in PAIRS:
        read = slow_read(case, pair)
        states, copy = slow_case_decoder(
            case.decoder, slow_embedding(case.embed, [SOS, *pair.target[:-1]]), read
        )
        words = array(case.embed.words.weight)
        for place, word in enumerate(pair.target):
            mixture, _ = slow_distribution(
                case.decoder.pointer, states[place], copy[place], pair.context, words
            )
            expected.append(-np.log(mixture[word]))
    close(case(collate(PAIRS)).token_nll, expected)


@pytest.mark.parametrize("tied", [False, True])
def test_own_losses_equal_the_equations(tied: bool) -> None:
    """KL and bag of words, mean over pairs; both alignments; the weighted sum of all losses."""
    case = model(tie_output=tied)
    losses = case(collate(PAIRS, extra=2)).losses
    selection, bag_of_words, reads = [], [], []
    for pair in PAIRS:
        read = slow_read(case, pair)
        reads.append(read)
        answer = slow_encoder(case.target_encoder, slow_embedding(case.embed, pair.target)).mean(
            axis=0
        )
        query = np.tanh(array(case.posterior.weight) @ answer)
        posterior = [slow_select(query, read.cognition), slow_select(query, read.affect)]
        pairs = [
            pq
            for own, other in zip(posterior, read.prior, strict=True)
            for pq in zip(own[0], other[0], strict=True)
        ]
        selection.append(sum(p * math.log(p / q) for p, q in pairs))
        chosen = np.tanh(
            slow_linear(case.answer_words, [np.concatenate([own[1] for own in posterior])])[0]
        )
        scores = slow_linear(case.decoder.pointer.output, [chosen])[0]
        if tied:
            scores = array(case.embed.words.weight) @ scores + array(case.decoder.pointer.bias)
        said = slow_softmax(scores)
        bag_of_words.append(-np.mean([math.log(said[word]) for word in pair.target]))
    close(losses["selection"], np.mean(selection))
    close(losses["bag_of_words"], np.mean(bag_of_words))

    coarse = slow_alignment(
        case.coarse,
        [r.prior[0][1] for r in reads],
        [r.prior[1][1] for r in reads],
        [True] * len(reads),
    )
    close(losses["coarse"], np.mean(coarse))
    fine: list[float] = []
    for relation in range(4):
        known = [bool(pair.knowledge[relation] and pair.knowledge[4]) for pair in PAIRS]
        assert not all(known)
        first = [read.cognition[relation] for read in reads]
        fine += slow_alignment(case.fine, first, [read.reaction for read in reads], known)
    close(losses["fine"], 0.2 * np.mean(fine))

    names = ("generation", "emotion", "selection", "bag_of_words", "coarse", "fine")
    close(
        losses["total"],
        sum(array(losses[name]) for name in names) + 1.5 * array(losses["diversity"]),
    )


def test_posterior_teaches_the_prior_and_not_the_other_way_round() -> None:
    """KL moves the prior's query only; the posterior is moved by its words."""
    case = model()
    for loss, moved, unmoved in (
        ("selection", "prior", "posterior"),
        ("bag_of_words", "posterior", "prior"),
    ):
        case.zero_grad()
        case(collate(PAIRS)).losses[loss].backward()
        assert getattr(case, moved).weight.grad.abs().sum() > 0
        gradient = getattr(case, unmoved).weight.grad
        assert gradient is None or not gradient.any()


def test_neither_target_nor_label_reaches_what_answers_even_in_training() -> None:
    """In training, too, the prior selects for emotion and decoder."""
    case, batch = model(), collate(PAIRS)
    words = case.embed.look_up(case.ids(batch))
    first = case.understand(batch, words)
    changed = replace(batch, target=batch.target.flip(0), label=(batch.label + 1) % 32)
    second = case.understand(changed, case.embed.look_up(case.ids(changed)))
    close(second.emotion_logits, first.emotion_logits)
    close(second.cognition.nodes, first.cognition.nodes)
    close(second.affect.nodes, first.affect.nodes)
    differ(second.losses["bag_of_words"], first.losses["bag_of_words"])


def test_intensity_weighs_tokens_and_concepts() -> None:
    """Where a concept is felt strongly, its node grows, and all others shrink."""
    case = model().eval()
    memory = case.encode(collate(PAIRS))
    concepts, _ = without_gaps(case.concepts[collate(PAIRS).context])
    strong = int(concepts[0, 0])
    assert strong != PAD and strong not in PAIRS[0].context and (concepts[0] == strong).sum() == 1
    case.intensity[strong] += 2
    grown = case.encode(collate(PAIRS)).affect.nodes[0]
    ratio = (grown / memory.affect.nodes[0]).mean(dim=1)
    node = collate(PAIRS).context.shape[1]
    assert ratio[node] > 1.5 and (ratio[: len(PAIRS[0].context)] < 1).all()


def test_commonsense_reaches_every_word_of_the_answer_through_the_memory() -> None:
    """Other inferences change each word's probability, also without attention to their graph.

    So does another reaction: both are merged into the context that the decoder reads. NaN in their
    place makes all of that context NaN.
    """
    case, batch = model().eval(), collate(PAIRS)
    for layer in case.decoder.layers:  # the decoder no longer reads the graphs themselves
        layer.cognition_attention.result.weight.data.zero_()
        layer.affect_attention.result.weight.data.zero_()
    before = case(batch).token_nll

    def changed(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output.roll(1, dims=-1)

    def spoiled(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.full_like(output, float("nan"))

    for part in (case.knowledge, case.refine_out):
        handle = part.register_forward_hook(changed)
        nll = case(batch).token_nll
        handle.remove()
        assert torch.isfinite(nll).all() and (nll - before).abs().min() > 1e-7
        handle = part.register_forward_hook(spoiled)
        memory = case.encode(batch)
        handle.remove()
        assert torch.isnan(memory.states).all()
        assert torch.isnan(memory.emotion_logits).all()


@pytest.mark.parametrize("without", ["concepts", "knowledge", "both"])
def test_without_concepts_or_commonsense(without: str) -> None:
    """The graph has the context's own edges, absent inferences learned vectors; nothing is NaN."""
    case, pairs = model(), PAIRS
    if without != "knowledge":
        case.concepts.fill_(PAD)
    if without != "concepts":
        pairs = [replace(pair, knowledge=[[]] * 5) for pair in PAIRS]
    output = case(collate(pairs))
    output.losses["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in case.parameters() if p.grad is not None)
    assert (output.losses["fine"] == 0) == (without != "concepts")
    case.eval()
    memory = case.encode(collate(pairs))
    assert (memory.affect.nodes.shape[1] == memory.states.shape[1]) == (without != "knowledge")
    for row, pair in enumerate(pairs):
        close(memory.emotion_logits[row], slow_read(case, pair).logits)


def test_one_pair_and_a_context_of_cls_alone() -> None:
    """Nothing to contrast with gives exactly 0, and the shortest context there is gives numbers."""
    case = model()
    for pair in (PAIRS[0], replace(PAIRS[0], context=[CLS], speaker=[CLS])):
        losses = case(collate([pair])).losses
        assert losses["coarse"] == 0 and losses["fine"] == 0 and torch.isfinite(losses["total"])


def test_rows_of_a_cache_carry_their_graphs() -> None:
    """A selected, repeated row answers as it does alone."""
    case = model(decoder_layers=2).eval()
    batch = collate(PAIRS)
    cache = case.start(case.encode(batch)).select(torch.tensor([4, 1, 4]))
    tokens = torch.full((3,), SOS)
    log_prob, _, _ = case.step(cache, tokens)
    for row, number in enumerate((4, 1, 4)):
        alone = case.start(case.encode(collate([PAIRS[number]])))
        close(log_prob[row], case.step(alone, tokens[:1])[0][0])
    differ(log_prob[0], log_prob[1])


# ------------------------------------------------------------------------------------------- parts


def test_last_utterance_is_the_last_run_of_one_speaker() -> None:
    speaker = torch.tensor(
        [
            [CLS, USR, USR, USR, PAD, PAD],
            [CLS, USR, SYS, USR, USR, PAD],
            [CLS, USR, USR, SYS, SYS, SYS],
            [CLS, PAD, PAD, PAD, PAD, PAD],
        ]
    )
    assert last_utterance(speaker).int().tolist() == [
        [0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0],
    ]  # fmt: skip


def test_concepts_close_up_in_their_order() -> None:
    concepts, place = without_gaps(
        torch.tensor([[PAD, 9, PAD, 8], [PAD, PAD, PAD, PAD], [PAD, PAD, 7, PAD]])
    )
    assert concepts.tolist() == [[9, 8], [PAD, PAD], [7, PAD]]
    assert place[0].tolist() == [1, 3] and place[2, 0] == 2
    assert without_gaps(torch.full((2, 3), PAD))[0].shape == (2, 0)


def test_edges_of_the_affect_graph() -> None:
    """Four tokens, the last one PAD, with concepts at 1 and 2, the third concept PAD."""
    nodes = torch.tensor([[True, True, True, False, True, True, False]])
    edges = affect_edges(nodes, torch.tensor([[1, 2, 0]]))[0]
    reads = [set(row.nonzero().flatten().tolist()) for row in edges]
    assert reads[:3] == [{0}, {0, 1, 4}, {0, 1, 2, 5}]
    assert reads[4:6] == [{1, 4}, {2, 5}]
    assert not edges[:, [3, 6]].any()


def test_relations_tell_edges_apart() -> None:
    """Without its relations the star is blind to which inference is which; with them it is not."""
    case = model()
    graph, utterance, inferences = case.cognition, normal(2, DIM), normal(2, 5, DIM, seed=1)
    turned = inferences[:, [1, 0, 2, 3, 4]]
    differ(graph(utterance, inferences)[:, 0], graph(utterance, turned)[:, 0])
    with torch.no_grad():
        graph.relations[2] = graph.relations[1]
    close(graph(utterance, inferences)[:, 0], graph(utterance, turned)[:, 0])


def test_selection_ignores_masked_nodes_and_survives_an_empty_graph() -> None:
    nodes, mask = normal(3, 4, DIM), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    query = normal(3, DIM, seed=1)
    weights, chosen = Graph(nodes, mask).select(query)
    close(weights.sum(dim=1), [1, 1, 0])
    assert not weights[~mask].any() and not chosen[2].any()
    _, alone = Graph(nodes[1:2, :2], mask[1:2, :2]).select(query[1:2])
    close(alone, chosen[1:2])


def test_divergence_is_zero_at_equality_and_finite_at_zeros() -> None:
    """`sum p log(p / q)`; places that neither reads add nothing, to the gradient neither."""
    p, q = torch.tensor([[0.25, 0.75, 0.0]]), torch.tensor([[0.5, 0.5, 0.0]], requires_grad=True)
    close(divergence(p, p), [0.0])
    close(divergence(p, q), [0.25 * math.log(0.5) + 0.75 * math.log(1.5)])
    divergence(p, q).sum().backward()
    close(q.grad, [[-0.5, -1.5, 0.0]])


def test_alignment_draws_own_views_together() -> None:
    """Views that agree cost less than other dialogues' views. One pair alone costs nothing."""
    alignment = randomise(Alignment(DIM, 0.5)).double()
    with torch.no_grad():
        alignment.second.weight.copy_(alignment.first.weight)
    views, given = normal(4, 1, DIM), torch.ones(4, 1).bool()
    assert alignment(views, views, given, 4) < 0.5 * alignment(views, views.roll(1, 0), given, 4)
    only = torch.tensor([[True], [False], [False], [False]])
    assert alignment(views, normal(4, 1, DIM, seed=1), only, 4) == 0
    assert alignment(views, views, torch.zeros(4, 1).bool(), 4) == 0


def test_a_missing_view_is_neither_anchor_nor_negative() -> None:
    alignment = randomise(Alignment(DIM, 0.5)).double()
    first, second = normal(4, 2, DIM), normal(4, 2, DIM, seed=1)
    given = torch.tensor([[True, True], [True, True], [False, False], [True, True]])
    keep = torch.tensor([0, 1, 3])
    close(alignment(first, second, given, 4), alignment(first[keep], second[keep], given[keep], 3))
