#!/bin/sh
# A night on a card: look, measure, judge, and leave what a CI shows.
#
#   sh docs/deploy/nightly.sh RELEASE [further options of pytest]
#
# W2V_REPORTS    where reports and the history go (default reports/; a local disk)
# W2V_BASELINES  approved baselines; without it nothing is gated, as in the first nights
#
# Ends with pytest's status, or 3 where the card is missing. On GitHub Actions the run's summary
# goes onto the job's page, and every red item becomes an annotation.
set -u
release=${1:?usage: nightly.sh RELEASE [options of pytest]}
shift
reports=${W2V_REPORTS:-reports}
mkdir -p "$reports"

w2v doctor --device hpu || exit 3
pytest -m hpu tests/validation --release "$release" --rounds 5 --reports-dir "$reports" \
    --history "$reports/history.sqlite" ${W2V_BASELINES:+--baseline "$W2V_BASELINES"} \
    --benchmark-json "$reports/out.json" --junit-xml "$reports/junit.xml" "$@"
status=$?

if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    newest=
    for summary in "$reports/$release"/*/summary.md; do
        [ -e "$summary" ] && { [ -z "$newest" ] || [ "$summary" -nt "$newest" ]; } && newest=$summary
    done
    [ -n "$newest" ] && cat "$newest" >>"$GITHUB_STEP_SUMMARY"
    [ -e "$reports/junit.xml" ] && python3 - "$reports/junit.xml" <<'EOF'
import sys
import xml.etree.ElementTree as ET

for case in ET.parse(sys.argv[1]).iter("testcase"):
    for red in (*case.iter("failure"), *case.iter("error")):
        message = " ".join((red.get("message") or "").split())[:400]
        for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
            message = message.replace(character, code)
        print(f"::error title={case.get('name').replace(',', ' ').replace('::', ' ')}::{message}")
EOF
fi
exit "$status"
