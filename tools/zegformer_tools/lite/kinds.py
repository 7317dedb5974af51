"""English words for a kind of something taught that MiniLM places far from it: it has never seen a heifer or a parka.

The vocabulary holds these words with a vector between their own and that of the name, so that they find what the name
finds, though no more than that: a heifer is not told from a bull, and where both words are typed the name wins.
"""

import numpy as np

from .names import TextSpace, unit

NEAR = 0.6
"""A silent name nearer to a typed one (cosine) gives way to it."""
HEAD = 1.0
"""How much of its head a phrase or a kind gets added to its own unit vector."""

WORDS = """
person: people, child, baby, pedestrian, lady, guy, gentleman, teenager, kid, toddler, infant, adult, boy, girl, man
person: woman, passer-by, cyclist, rider
cat: tomcat, pussycat, moggy, housecat, mouser, tabby
dog: mutt, mongrel, lapdog, watchdog, retriever, collie, doggy
horse: steed, mustang, foal, colt, gelding, bronco
cow: heifer, bull, calf, ox, steer, bullock
sheep: ewe, ram
bird: fowl, waterfowl, nestling
bear: grizzly
elephant: tusker, pachyderm
airplane: jetliner, jumbo jet, biplane, jet
bicycle: pushbike, push-bike, tandem
boat: dinghy, ferry, barge
bus: minibus, omnibus, double-decker
car: hatchback, convertible, taxi, motorcar
motorcycle: scooter, moped
train: tram, railcar
truck: lorry, van, semi-trailer
bottle: flask, carafe, flagon
chair: stool, deckchair
sofa: settee, loveseat, divan
couch: davenport
dining table: desk
potted plant: houseplant, flowerpot
tv: telly, monitor, flat screen
traffic light: stoplight
cell phone: mobile
refrigerator: icebox, freezer
cup: beaker
building: tower block, high-rise, edifice
house: cottage, villa, bungalow
pavement: footpath, walkway, sidewalk
grass: meadow, pasture
rock: pebble, cliff, stone
tree: foliage, woods, oak, pine, fir, birch, conifer
sea: waves, surf
water: lake, pond, puddle, stream
mountain: hill, hills, peak
sky: heaven, cloud
floor: parquet
rug: mat, doormat
curtain: drapes, drape
cabinet: closet, sideboard, dresser
fence: railing, palisade
window: glass pane
hair: ponytail, curls, braid
skin: bare arm, bare leg
face: portrait, visage
pants: slacks, chinos
sweater: pullover, knitwear, jersey
t-shirt: tee, polo shirt
coat: parka, overcoat
jacket: anorak, windbreaker
dress: frock, sundress
skirt: miniskirt, kilt
sneakers: plimsolls, trainers
boots: wellingtons
heels: stilettos
tights: pantyhose, hosiery
hat: cap, beanie, bonnet, headgear
sunglasses: shades, dark glasses
purse: clutch
bag: satchel, rucksack
scarf: shawl, neckerchief
gloves: mittens
necklace: beads, pendant
"""


def kinds(space: TextSpace, taken: set[str]) -> dict[str, np.ndarray]:
    """Word -> unit vector of the words that are farther from their name than `NEAR` and not `taken`."""
    found = {}
    for line in WORDS.strip().splitlines():
        name, words = line.split(":")
        (towards,) = space.vectors([name.strip()])
        for word in words.split(","):
            (own,) = space.vectors([word.strip()])
            if own @ towards < NEAR and word.strip() not in taken:
                found[word.strip()] = unit(own + HEAD * towards)
    return found
