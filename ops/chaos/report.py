"""The outcome for people."""

from rich.console import Console
from rich.table import Table

from ops.chaos.run import Outcome
from ops.chaos.storm import KINDS


def show(outcome: Outcome, console: Console) -> None:
    """Two tables and a verdict."""
    console.print(_faults(outcome), _trades(outcome))
    proof = outcome.proof
    bars = ", ".join(f"{count:,} of {timeframe}" for timeframe, count in proof.bars.items())
    lines = [
        f"bars checked {bars}; wrong [bold]{len(proof.wrong_bars)}[/bold]",
        f"requests {outcome.attempts:,}, to be tried again {outcome.refused:,}; at rest after {outcome.rest_s:.0f} s",
        "gaps " + (", ".join(f"{state} {gaps} ({ids:,} ids)" for state, (gaps, ids) in proof.gaps.items()) or "none"),
        "dead letters " + (", ".join(f"{count:,} {src} {field}" for src, field, count, _ in proof.dead_letters) or "none"),
        *(f"[red]missing[/red] {each}" for each in proof.missing),
        *(f"[red]wrong bar[/red] {each}" for each in proof.wrong_bars[:20]),
        *(f"[red]miscounted[/red] {each}" for each in proof.miscounted),
        *(f"[red]unburied[/red] {each}" for each in proof.unburied),
        *(f"[red]refused[/red] {each}" for each in outcome.ill[:10]),
        *(f"[red]not at rest[/red] {each}" for each in outcome.moving),
    ]
    if proof.strange:
        lines.append(f"[red]{proof.strange:,} stored trades that nobody sent[/red]")
    lost, doubled = proof.total("lost") + proof.total("changed"), proof.total("doubled") + proof.strange
    verdict = f"lost {lost}, doubled {doubled}, wrong bars {len(proof.wrong_bars)}"
    lines.append(f"[bold {'green' if outcome.holds else 'red'}]{verdict}[/]")
    console.print("\n".join(lines), soft_wrap=True)


def _faults(outcome: Outcome) -> Table:
    done = outcome.tally.done
    table = Table("fault", "times", "", title=f"Faults: {sum(done.values())} of {len(done)} kinds, seed {outcome.seed}")
    table.columns[1].justify = "right"
    for kind in KINDS:
        skipped = "" if done[kind.kind] else outcome.tally.skipped.get(kind.kind, "")
        table.add_row(kind.kind, f"{done[kind.kind]}", skipped)
    return table


def _trades(outcome: Outcome) -> Table:
    names = {
        "due": "made or promised", "stored": "stored", "lost": "lost",
        "changed": "other values", "doubled": "doubled",
    }  # fmt: skip
    table = Table("symbol", *names.values(), title=f"Trades, {outcome.rate:,.0f} a second")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in outcome.proof.symbols:
        table.add_row(each.symbol, *(f"{getattr(each, name):,}" for name in names))
    table.add_section()
    table.add_row("all", *(f"{outcome.proof.total(name):,}" for name in names))
    return table
