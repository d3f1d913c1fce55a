"""Self-written lexicon and grammar of canary-speech.

Sentences are drawn from a small context-free grammar. Lower-case names in angle brackets are
non-terminals; everything else is a word of the transcript. Words of a word class are listed from
frequent to rare and drawn with Zipf-like weights, so that a few stay rare and keep the word error
rate of a canary above zero; homophones that the context does not settle (FLOUR and FLOWER, BOY'S
and BOYS') do the same. Double letters and apostrophes are in plenty, because decoders that merge
them by mistake are a known fault.
"""

from __future__ import annotations

import random
import re
from itertools import accumulate

ZIPF_EXPONENT = 0.9
ZIPF_OFFSET = 2.0  # flattens the head: rank r of a class has weight (r + offset) ** -exponent

CLASSES: dict[str, str] = {
    "name": "ANNA HARRY BETTY EMMA TOMMY MOLLY BILL JENNY WILLIAM ANNE PEGGY ANN RUSSELL"
    " REBECCA HANNAH JOSEPH ELLEN MAXWELL ZACHARY QUINCY",
    "person": "BOY GIRL MOTHER TEACHER FATHER SISTER BROTHER FARMER SAILOR DOCTOR BAKER QUEEN"
    " KING SOLDIER DAUGHTER MILLER SON PAINTER CAPTAIN WIDOW HUNTER COUSIN JUGGLER BUTLER"
    " JEWELLER WEAVER TAILOR SHERIFF MESSENGER SQUIRE PROFESSOR CARPENTER",
    "animal": "RABBIT PUPPY KITTEN DOG HORSE SHEEP GOOSE FOX SQUIRREL DONKEY CROW OTTER PARROT"
    " BULLFROG BEETLE WEASEL",
    "thing": "LETTER BOOK APPLE BASKET BOTTLE FLOUR HAMMER FLOWER DOOR BUTTON TABLE LADDER"
    " WINDOW KETTLE TALE TAIL RIBBON PENNY CARROT COFFEE SUPPER BUTTER JACKET BOX LAMP SADDLE"
    " PUZZLE PEPPER RING MIRROR BARREL PILLOW CHERRY WAGON SCISSORS JELLY VIOLIN QUILT WHISTLE"
    " FEATHER CANDLE CABBAGE MUSTARD NEEDLE VINEGAR ENVELOPE TELEGRAM UMBRELLA ACCORDION COMPASS"
    " PARCEL TREASURE",
    "things": "LETTERS BOOKS APPLES FLOWERS SHEEP BUTTONS CARROTS RABBITS STORIES CHERRIES"
    " WHEELS PUPPIES BOTTLES TREES PUZZLES",
    "persons": "BOYS GIRLS CHILDREN FARMERS SISTERS SAILORS TEACHERS SOLDIERS",
    "adj": "LITTLE HAPPY GOOD YELLOW PRETTY OLD GREEN SMALL SILLY TALL SWEET PURPLE BITTER"
    " FUNNY COMMON WOODEN HOLLOW CLEVER QUIET MARRIED DUSTY FOGGY LAZY NARROW WORTHLESS GENTLE"
    " CROOKED SCARLET EXCELLENT PECULIAR ANCIENT JOLLY VALUABLE",
    "trait": "LITTLE HAPPY GOOD OLD SILLY TALL FUNNY CLEVER QUIET SWEET MARRIED LAZY GENTLE",
    "place": "HOUSE GARDEN KITCHEN VALLEY HILL VILLAGE SCHOOL MEADOW WOODS SEA RIVER BRIDGE"
    " STREET MARKET CELLAR CHURCH HARBOR POOL TUNNEL COTTAGE ATTIC ZOO QUARRY ABBEY ALLEY"
    " BALLROOM LIBRARY CASTLE ORCHARD PALACE STATION GALLERY",
    "prep": "IN NEAR BEHIND BY FROM ACROSS BENEATH OPPOSITE",
    "when": "YESTERDAY TODAY TOMORROW TONIGHT AGAIN SOON",
    "season": "SUMMER WINTER MORNING EVENING SPRING AFTERNOON",
    "past": "FOUND SAW CARRIED WANTED KEPT LOST NEEDED SOLD DROPPED CALLED FOLLOWED HID"
    " BORROWED MISSED PAINTED OFFERED HUGGED STOLE EXAMINED BURIED DISCOVERED POLISHED MENTIONED",
    "inf": "SEE FIND KEEP CARRY CALL NEED SELL FOLLOW HIDE BORROW DROP PAINT COLLECT HOLD"
    " FORGET ADMIRE EXAMINE DISCOVER ACCEPT REPAIR",
    "done": "FOUND SEEN LOST CARRIED SOLD DROPPED FORGOTTEN HIDDEN CHOSEN BROKEN",
    "moved": "STOOD RAN WALKED SLEPT STOPPED WAITED HURRIED FELL STEPPED WANDERED",
    "adv": "SLOWLY QUICKLY HAPPILY REALLY SUDDENLY CAREFULLY USUALLY PATIENTLY",
    "number": "TWO THREE FOUR SEVEN TEN FIFTEEN",
    "feeling": "HAPPY SORRY READY ANGRY HUNGRY WELL SLEEPY FREE ILL DIZZY",
}

RULES: dict[str, dict[str, float]] = {
    "s": {
        "<who> <past> <what>": 6,
        "<who> <past> <what> <where>": 6,
        "<who> <moved> <where>": 4,
        "<who> <moved> <adv> <where>": 1.5,
        "<who> <aux> <inf> <what>": 6,
        "<who> <aux> <inf> <what> <where>": 2.5,
        "<pro> <inf> <what>": 4,
        "<prohas> <done> <what>": 3,
        "<prois> <feeling>": 2,
        "<prois> <feeling> <when>": 1,
        "<prois> GOING TO <inf> <what>": 2.5,
        "<itis> <indef>": 2,
        "<itis> <poss> <thing>": 3,
        "THERE WAS <indef> <where>": 2,
        "THERE WERE <number> <things> <where>": 2,
        "IN THE <season> <who> <past> <what>": 2.5,
        "IN THE <season> <who> <moved> <where>": 1.5,
        "<name> SAID THAT <who> <past> <what>": 1.5,
        "<who> TOLD <name> THAT <itis> <poss> <thing>": 1.5,
        "<who> <past> <what> <when>": 2,
        "<ask> <the> <adj> <thing>": 1,
        "<ask> <poss> <thing>": 1,
        "IF <who> <aux> <inf> <what> <pro> <inf> IT": 1.5,
        "<who> <past> <what> AND <who> <past> <what>": 2.5,
        "<who> <past> <what> BUT <who> <aux> <inf> IT": 2,
        "<who> <moved> <where> BECAUSE <who> WAS <feeling>": 1.5,
        "<short>": 3,
    },
    "short": {
        "LET'S CALL <name>": 1.5,
        "LET'S FOLLOW <name>": 1.5,
        "DON'T <inf> IT": 3,
        "DON'T <inf> <what>": 3,
        "WHO'S <where>": 1,
        "GOOD MORNING <name>": 1,
        "<name> ISN'T <feeling>": 2,
        "NO THANK YOU <name>": 1,
        "I DON'T KNOW <name>": 1,
    },
    "who": {
        "<the> <person>": 6,
        "<the> <trait> <person>": 4,
        "THE <adj> <animal>": 2,
        "THE <animal>": 2,
        "<name>": 5,
        "THE <persons>": 1.5,
        "SHE": 2,
        "HE": 2,
        "WE": 1,
        "THEY": 1,
        "<family> <person>": 1.5,
    },
    "what": {
        "<the> <thing>": 6,
        "<indef>": 5,
        "<the> <adj> <thing>": 5,
        "<poss> <thing>": 6,
        "<number> <things>": 2.5,
        "THE <things>": 2,
        "<the> <animal>": 1.5,
    },
    "indef": {"A <adj> <thing>": 3, "A <thing>": 3, "A <adj> <animal>": 1},
    "poss": {
        "THE <person>'S": 3,
        "MY <person>'S": 1.5,
        "<name>'S": 3,
        "THE <plural>S'": 2,
        "THE <animal>'S": 1,
    },
    "plural": {"BOY": 4, "GIRL": 3, "FARMER": 1, "SISTER": 1, "SAILOR": 1, "TEACHER": 1},
    "where": {
        "<prep> THE <place>": 8,
        "<prep> THE <adj> <place>": 4,
        "<prep> <poss> <place>": 2,
        "ON THE HILL": 1,
        "UNDER THE <thing>": 1,
    },
    "the": {"THE": 7, "MY": 1.5, "HER": 1.5, "HIS": 1.5, "OUR": 1, "THEIR": 1, "THAT": 1},
    "family": {"MY": 2, "HER": 2, "HIS": 2, "OUR": 1},
    "aux": {
        "DIDN'T": 4,
        "COULDN'T": 3,
        "CAN'T": 3,
        "WON'T": 2,
        "WILL": 2,
        "WOULDN'T": 1,
        "MUST": 1,
        "SHOULDN'T": 0.6,
    },
    "pro": {"I'LL": 3, "WE'LL": 3, "THEY'LL": 2, "SHE'LL": 1.5, "YOU'LL": 2, "I'D": 1, "HE'LL": 1},
    "prohas": {"I'VE": 3, "WE'VE": 3, "THEY'VE": 2, "YOU'VE": 2, "SHE'S": 1, "HE'S": 1},
    "prois": {"I'M": 3, "SHE'S": 3, "HE'S": 3, "WE'RE": 2, "THEY'RE": 2, "YOU'RE": 2},
    "itis": {"IT'S": 4, "THAT'S": 3, "IT ISN'T": 2, "IT WASN'T": 1, "HERE'S": 1.5},
    "ask": {"WHERE'S": 2, "HAVEN'T YOU SEEN": 1, "WHO HAS": 1},
}

_SYMBOL = re.compile(r"<([a-z]+)>")
_ARTICLE = re.compile(r"\bA (?=[AEIOU])")
_Table = tuple[list[str], list[float]]


def _tables() -> dict[str, _Table]:
    tables: dict[str, _Table] = {}
    for name, words in CLASSES.items():
        ranked = words.split()
        weights = [(rank + ZIPF_OFFSET) ** -ZIPF_EXPONENT for rank in range(len(ranked))]
        tables[name] = ranked, list(accumulate(weights))
    for name, alternatives in RULES.items():
        tables[name] = list(alternatives), list(accumulate(alternatives.values()))
    return tables


_TABLES = _tables()


def sentence(rng: random.Random) -> str:
    """Draw one sentence: upper case, letters, apostrophes and single spaces."""
    text = "<s>"
    while match := _SYMBOL.search(text):
        alternatives, cumulative = _TABLES[match[1]]
        choice = rng.choices(alternatives, cum_weights=cumulative)[0]
        text = text[: match.start()] + choice + text[match.end() :]
    return _ARTICLE.sub("AN ", text)


def sentences(count: int, *, seed: int, exclude: frozenset[str] = frozenset()) -> list[str]:
    """Draw `count` different sentences, none of them in `exclude`."""
    rng = random.Random(seed)
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        text = sentence(rng)
        if text not in exclude:
            drawn[text] = None
    return list(drawn)
