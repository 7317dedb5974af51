"""Which names are kinds of which: an "animal" is looked for as a cat, a dog, a horse.

MiniLM places a general word near some of what it stands for (dog .80) and far from the rest (cat .45, goldfinch .1). So
the bundle lists its kinds, which are looked for in its place, and no silent name that is above or below a typed one
competes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

KINDS = """
animal: mammal, bird, fish, reptile, amphibian, insect, spider, crustacean, dinosaur, sea creature, pet, farm animal
mammal: cat, dog, horse, cow, sheep, goat, pig, elephant, bear, zebra, giraffe, big cat, monkey, deer, rodent
mammal: rabbit, wolf, fox
mammal: beaver, dolphin, whale, kangaroo, llama, okapi, gerenuk, panda, platypus, rhinoceros, hedgehog, squirrel
mammal: camel, seal
wildlife: elephant, bear, zebra, giraffe, big cat, monkey, deer, wolf, fox, beaver, kangaroo, okapi, gerenuk
wildlife: panda, rhinoceros
wildlife: hedgehog, squirrel, bird, reptile
pet: cat, dog, rabbit, rodent, parrot, goldfish
farm animal: cow, sheep, goat, pig, horse, donkey, rooster, chicken, llama
livestock: cow, sheep, goat, pig, horse
poultry: rooster, chicken, duck, goose
big cat: leopard, cougar, wildcat, lion, tiger
rodent: rat, hamster, beaver, squirrel
bird: flamingo, ibis, emu, rooster, chicken, pigeon, duck, goose, owl, eagle, parrot, penguin
fish: bass fish, seahorse, shark
reptile: crocodile, turtle, snake, lizard
turtle: hawksbill turtle
amphibian: frog
insect: ant, butterfly, dragonfly, mayfly, bee
arachnid: spider, scorpion, tick
crustacean: crab, crayfish, lobster
shellfish: crustacean
sea creature: octopus, starfish, nautilus, seahorse, dolphin, whale, shark, fish, crustacean, sea turtle
sea turtle: hawksbill turtle
dinosaur: brontosaurus, stegosaurus
vehicle: car, bus, truck, train, motorcycle, bicycle, boat, airplane, helicopter, tractor
means of transport: vehicle
road vehicle: car, bus, truck, motorcycle, bicycle
aircraft: airplane, helicopter
boat: ferry, ketch, schooner, canoe
ship: ferry, ketch, schooner
sailing boat: ketch, schooner
sailboat: ketch, schooner
furniture: chair, sofa, couch, table, dining table, bed, cabinet, shelf, bench
seating: chair, sofa, couch, bench
chair: windsor chair, wheelchair
table: dining table
appliance: refrigerator, oven, microwave, toaster, washing machine
household appliance: appliance
electronics: tv, laptop, cell phone, keyboard, mouse, remote, camera, headphones
electronic device: electronics
device: electronics
computer: laptop
musical instrument: accordion, electric guitar, grand piano, mandolin, saxophone, euphonium, guitar, piano
musical instrument: violin, drum
instrument: musical instrument
guitar: electric guitar
piano: grand piano
tool: wrench, scissors, hammer, screwdriver, stapler
weapon: revolver, cannon, knife, gun
gun: revolver
tableware: plate, bowl, cup, wine glass, fork, knife, spoon
dishes: plate, bowl, cup
crockery: plate, bowl, cup
cutlery: fork, knife, spoon
container: bottle, cup, bowl, vase, barrel, ewer, suitcase
lighting: lamp, light, chandelier
light: lamp, chandelier
lamp: chandelier
sports equipment: sports ball, tennis racket, baseball bat, baseball glove, skateboard, surfboard, skis
sports equipment: snowboard, frisbee
ball: sports ball, soccer ball
sports ball: soccer ball
toy: teddy bear, doll, kite
luggage: suitcase, backpack, handbag
bag: backpack, handbag, purse
food: fruit, vegetable, bread, cake, pizza, sandwich, hot dog, donut, cheese, meat, egg, pasta, rice, salad, soup
meal: pizza, sandwich, hot dog, salad, soup, pasta
snack: sandwich, hot dog, donut, cake
dessert: cake, donut, ice cream
fruit: apple, banana, orange, lemon, lime, pear, peach, plum, mango, papaya, pineapple, kiwi fruit, melon, nectarine
fruit: strawberry, pomegranate, passion fruit, avocado, red grapefruit, satsuma, grape, cherry
citrus fruit: orange, lemon, lime, red grapefruit, satsuma
berry: strawberry
apple: golden delicious apple, granny smith apple, pink lady apple, red delicious apple, royal gala apple
pear: anjou pear, conference pear, kaiser pear
melon: cantaloupe, galia melon, honeydew melon, watermelon
vegetable: asparagus, eggplant, cabbage, carrot, cucumber, garlic, ginger, leek, onion, pepper, potato, tomato
vegetable: beetroot
vegetable: zucchini, broccoli, mushroom
pepper: green bell pepper, orange bell pepper, red bell pepper, yellow bell pepper
bell pepper: green bell pepper, orange bell pepper, red bell pepper, yellow bell pepper
onion: yellow onion
potato: floury potato, solid potato, sweet potato
tomato: beef tomato, vine tomato
mushroom: brown cap mushroom
plant: tree, grass, flower, bush, potted plant
vegetation: plant
greenery: tree, grass, bush, potted plant
tree: bonsai, joshua tree
flower: sunflower, lotus, water lily
nature: tree, grass, flower, bush, sky, mountain, rock, river, sea, sand, snow, water
landscape: tree, grass, mountain, rock, river, sea, sand, snow, road, playing field
ground: grass, dirt, sand, gravel, pavement, road, floor, snow, playing field
terrain: grass, dirt, sand, gravel, rock, snow
floor: wooden floor
wall: brick wall, stone wall, tile wall, wooden wall
body of water: water, sea, river
water: sea, river
structure: building, house, bridge, fence, tent
architecture: building, house, bridge, minaret, pagoda, pyramid
building: house, minaret, pagoda, tower, church, castle
clothing: coat, dress, jacket, jeans, pants, shirt, shorts, skirt, suit, sweater, t-shirt, top, blouse, cardigan
clothing: hoodie, vest
clothing: blazer, cape, jumper, leggings, romper, sweatshirt, swimwear, tights, stockings, socks, scarf, tie
clothing: underwear, hat
clothing: footwear, gloves, belt
clothes: clothing
garment: clothing
outfit: clothing
apparel: clothing
footwear: shoes, boots, sneakers, heels, pumps, flats, sandals, loafers, wedges, clogs
shoes: boots, sneakers, heels, pumps, flats, sandals, loafers, wedges, clogs
trousers: pants, jeans, leggings
outerwear: coat, jacket, cape
underwear: bra, panties, intimate, bodysuit
jewelry: bracelet, earrings, necklace, ring
jewellery: jewelry
accessory: bag, belt, glasses, sunglasses, scarf, watch, hat, tie, gloves, jewelry
eyewear: glasses, sunglasses
headwear: hat
""".strip()
"""A line holds a name and kinds of it, which may have kinds themselves.

None is another word for something taught: "desk" was taught as "dining table", and would take it away where "table" and
"dining table" are typed.
"""

IMAGENET = {
    "fish": [(0, 6), (389, 397)],
    "shark": [(2, 4)],
    "rooster": [(7, 7)],
    "chicken": [(7, 8)],
    "bird": [(7, 24), (80, 100), (127, 146)],
    "amphibian": [(25, 32)],
    "frog": [(30, 32)],
    "reptile": [(33, 68)],
    "turtle": [(33, 37)],
    "lizard": [(38, 48)],
    "crocodile": [(49, 50)],
    "dinosaur": [(51, 51)],
    "snake": [(52, 68)],
    "spider": [(72, 77)],
    "arachnid": [(70, 78)],
    "animal": [(0, 397)],
    "mammal": [(101, 106), (147, 299), (330, 388)],
    "sea creature": [(0, 6), (107, 112), (115, 126), (147, 150), (327, 329), (389, 397)],
    "crab": [(118, 121), (125, 125)],
    "crustacean": [(118, 126)],
    "whale": [(147, 148)],
    "dog": [(151, 268)],
    "wolf": [(269, 271)],
    "fox": [(277, 280)],
    "cat": [(281, 285)],
    "big cat": [(286, 293)],
    "bear": [(294, 297)],
    "insect": [(300, 326)],
    "butterfly": [(321, 326)],
    "rabbit": [(330, 332)],
    "rodent": [(333, 338)],
    "horse": [(339, 339)],
    "pig": [(341, 342)],
    "cow": [(345, 347)],
    "sheep": [(348, 349)],
    "monkey": [(365, 384)],
    "elephant": [(385, 386)],
    "panda": [(388, 388)],
}
"""Classes of ImageNet-1k, first to last, that are kinds of these; its animals are in the order of WordNet's tree."""


HOMONYMS = ("cardigan", "kite", "crane")
"""Animals that most people know as something else."""


def direct(imagenet: Sequence[str]) -> dict[str, list[str]]:
    """Name -> what lies directly below it, less what that has below it. `imagenet`: the names of its 1,000 classes."""
    found: dict[str, dict[str, None]] = {}
    for line in KINDS.splitlines():
        name, kinds = line.split(": ")
        found.setdefault(name, {}).update(dict.fromkeys(kinds.split(", ")))
    for name, ranges in IMAGENET.items():
        classes = [imagenet[at] for first, last in ranges for at in range(first, last + 1)]
        found.setdefault(name, {}).update(dict.fromkeys(n for n in classes if n not in (name, *HOMONYMS)))
    lists = {name: list(kinds) for name, kinds in found.items()}
    further = {name: {n for kind in kinds for n in below(lists, kind)} for name, kinds in lists.items()}
    return {name: [kind for kind in kinds if kind not in further[name]] for name, kinds in lists.items()}


def below(kinds: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """All names below one, nearest first; `kinds`: what lies directly below each."""
    found: dict[str, None] = {}
    level = [name]
    while level:
        level = [k for k in dict.fromkeys(k for n in level for k in kinds.get(n, ())) if k not in found and k != name]
        found.update(dict.fromkeys(level))
    return list(found)


def words() -> list[str]:
    """All names that are written out here."""
    return list(dict.fromkeys(word for line in KINDS.splitlines() for word in line.replace(":", ",").split(", ")))
