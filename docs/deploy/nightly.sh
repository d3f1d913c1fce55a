#!/bin/sh
# A night on a card: look, measure, judge, and leave what a CI shows.
#
#   sh docs/deploy/nightly.sh RELEASE [further options of pytest]
#
# W2V_REPORTS    where reports and the history go (default reports/; a local disk)
# W2V_BASELINES  approved baselines; without it nothing is gated, as in the first nights
# W2V_CHAT       file that gets the night as a line of JSON, for a chat's hook
#
# Ends with 0 where nothing is red, 1 where something is, 3 where nothing was measured. On GitHub
# Actions the run's summary goes onto the job's page, and what is red or open becomes an annotation.
set -u
release=${1:?usage: nightly.sh RELEASE [options of pytest]}
shift
exec w2v night --release "$release" --reports-dir "${W2V_REPORTS:-reports}" \
    ${W2V_BASELINES:+--baseline "$W2V_BASELINES"} ${W2V_CHAT:+--chat "$W2V_CHAT"} -- "$@"
