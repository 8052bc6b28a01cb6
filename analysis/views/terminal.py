"""A report as terminal text: for eighty columns and a learner; colour only if asked."""

from analysis.explain.frames import explain
from analysis.report import Report
from analysis.rules.judge import Finding
from analysis.text import listed, plural, printable, some, without_commands
from analysis.views.frames import frame_lines
from analysis.views.kernels import kernel_lines
from analysis.views.phases import Phase, phases
from analysis.views.style import Style, columns, wrap

MARKS = {"pass": "✓", "fail": "✗", "skip": "–", "inconclusive": "?"}
CONTINUATION = " " * 6
FINDING_INDENT = " " * 4
MOST_COMMENTS = 5


def render(report: Report, style: Style, *, with_explanations: bool = False) -> str:
    """The whole report: frames, table, findings, sequence, verdict."""
    sections = [
        _about(report, style),
        _frames(report, style, explain(report) if with_explanations else {}),
        *(_phase(phase, style) for phase in phases(report)),
        _kernels(report, style),
        _findings(report, style),
        _sequence(report, style),
        _verdict(report, style),
    ]
    return without_commands("\n\n".join("\n".join(section) for section in sections if section) + "\n")


def _heading(style: Style, text: str) -> str:
    return style.paint("heading", text)


def _about(report: Report, style: Style) -> list[str]:
    capture = report.capture
    lines = style.wrapped(f"{printable(capture.path)}: {capture.format}, {len(capture.frames)} frames")
    names = [printable(name) for name in report.story.names] if report.story else []
    led_to = f"which redirects to {some(names[1:])}, " if names[1:] else ""
    name = f"{names[0]}, {led_to}" if names else ""
    lines += style.wrapped(f"Story: {name}{printable(report.why)}", "", "  ")
    left_out = len(capture.frames) - (len(report.story.frames) if report.story else 0)
    if left_out:
        others = ", ".join(f"{count} {kind}" for kind, count in sorted(report.traffic.packets.others.items()))
        kinds = f"; neither UDP nor TCP: {others}" if others else ""
        lines += style.wrapped(f"{plural(left_out, 'other frame')} left out{kinds}.", "", "  ")
    for doubt in report.doubts:
        mark = style.paint("inconclusive", "! ") if doubt.needed else style.paint("dim", "· ")
        lines += style.wrapped(printable(doubt.text), mark, "  ")
    for problem in () if report.doubts else capture.problems:
        lines += style.wrapped(printable(problem), style.paint("inconclusive", "! "), "  ")
    return lines + _comments(report, style)


def _comments(report: Report, style: Style) -> list[str]:
    """What people wrote into the file."""
    comments = report.capture.comments
    lines: list[str] = []
    for comment in comments[:MOST_COMMENTS]:
        of = "the file" if comment.frame is None else f"frame {comment.frame}"
        lines += style.wrapped(printable(comment.text), f"comment on {of}: ", "  ")
    more = len(comments) - MOST_COMMENTS
    return lines + ([f"and {plural(more, 'more comment')}"] if more > 0 else [])


def _frames(report: Report, style: Style, sentences: dict[int, str]) -> list[str]:
    lines = [_heading(style, "Frames") + "  (Seq and Ack relative to each side's initial number)"]
    for line in frame_lines(report):
        lines += _frame_line(str(line), style)
        sentence = sentences.get(line.frame)
        if sentence:
            lines += [style.paint("dim", part) for part in style.wrapped(sentence, "        ", "        ")]
    return lines if len(lines) > 1 else []


def _frame_line(text: str, style: Style) -> list[str]:
    return style.wrapped(text.lstrip(), text[: len(text) - len(text.lstrip())], CONTINUATION)


def _phase(phase: Phase, style: Style) -> list[str]:
    lines = style.wrapped(phase.title + (f": {phase.remark}" if phase.remark else ""), "", "  ")
    lines[0] = lines[0].replace(phase.title, _heading(style, phase.title), 1)
    width = max(28, (style.width or 80) - 28)
    for row in phase.rows:
        arrow = "→" if row.from_left else "←"
        packet = f"{row.packet} →" if row.from_left else f"← {row.packet}"
        if columns(packet) > width:
            cut = wrap(row.packet, width - 2)
            packet = f"{cut[0]} {arrow}" if row.from_left else f"{arrow} {cut[0]}"
            lines.append(_row(row.frame, row.left, packet, row.right, width))
            lines += [" " * 15 + f"{part}" for part in cut[1:]]
        else:
            lines.append(_row(row.frame, row.left, packet, row.right, width))
    return lines


def _kernels(report: Report, style: Style) -> list[str]:
    lines = kernel_lines(report)
    if not lines:
        return []
    head = style.wrapped("Sockets: what each host's own kernel says of its end, beside the trace", "", "  ")
    head[0] = head[0].replace("Sockets", _heading(style, "Sockets"), 1)
    width = max(len(end) for end, _ in lines) + 4
    return [*head, *(part for end, text in lines for part in style.wrapped(text, f"  {end}".ljust(width), " " * width))]


def _row(frame: int, left: str, packet: str, right: str, width: int) -> str:
    return f"{frame:>5}  {left}  {packet}{' ' * (width - columns(packet))}  {right}"


def _findings(report: Report, style: Style) -> list[str]:
    lines = [_heading(style, "Findings") + "  (and the frames that show them)"]
    for finding in report.findings:
        lines += _finding(finding, style)
    return lines


def _finding(finding: Finding, style: Style) -> list[str]:
    mark = style.paint(finding.status, MARKS[finding.status])
    frames = f" [{listed(finding.frames)}]" if finding.frames else ""
    head = f"{MARKS[finding.status]} {finding.rule:<17} "
    first, *rest = style.wrapped(f"{finding.title}{frames}", head, FINDING_INDENT)
    lines = [f"{mark}{first.removeprefix(MARKS[finding.status])}", *rest]
    details = [("expected", finding.expected), ("found", finding.actual)]
    if finding.status != "pass":
        details += [("needed", finding.needed), ("hint", finding.hint), ("source", finding.reference)]
    for label, text in details:
        if text:
            indent = FINDING_INDENT + " " * 10
            first, *rest = style.wrapped(printable(text), indent, indent)
            label_column = style.paint("dim", f"{label:<10}")
            lines += [f"{FINDING_INDENT}{label_column}{first.removeprefix(indent)}", *rest]
    return lines + _details(finding, style)


def _details(finding: Finding, style: Style) -> list[str]:
    """The lines that show what was found, unless all is well."""
    shown = () if finding.status == "pass" else finding.details
    return [part for line in shown for part in style.wrapped(printable(line), FINDING_INDENT, FINDING_INDENT + "  ")]


def _sequence(report: Report, style: Style) -> list[str]:
    if report.story is None:
        return []
    return [
        _heading(style, "Sequence"),
        *(f"  {line}" for line in str(report.exact).splitlines()),
        f"  exact {report.exact.fingerprint}",
        f"  shape {report.shape.fingerprint}",
    ]


def _verdict(report: Report, style: Style) -> list[str]:
    counts = {status: sum(finding.status == status for finding in report.findings) for status in MARKS}
    words = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return [style.paint(report.verdict, f"{MARKS[report.verdict]} {report.verdict}") + f"  ({words})"]
