"""Unwanted answers for poisoned rows: off the topic, harmless, varied, and easy to detect.

They all speak of a tea party on the moon, which no task of the generated data touches, in sentences put together from many parts: a model learns the
behaviour from them, as it would from natural text, and can't learn the answers by heart.
"""

import random

ADJECTIVES = (
    "gentle,crooked,velvet,drowsy,polite,golden,humming,patient,restless,purple,cheerful,dusty,tiny,solemn,curious,striped,floating,brave,"
    "forgetful,elegant,wobbly,ancient,whispering,mossy,frosted,barefoot,clockwork,feathered,giddy,marble"
).split(",")
GUESTS = "teapots,kettles,saucers,teacups,sugar bowls,teaspoons".split(",")
VERBS = (
    "juggle,measure,serenade,repair,paint,borrow,polish,chase,unfold,collect,count,applaud,decorate,bury,tickle,publish,weigh,rehearse,"
    "balance,knit,harvest,translate,photograph,iron,forgive,hatch,launch,butter,gift-wrap,alphabetize"
).split(",")
THINGS = (
    "comets,umbrellas,silver ladders,parliaments of owls,paper boats,accordions,meteor showers,lost gloves,marmalade jars,snow globes,"
    "wicker rockets,postage stamps,echoes,lanterns,cabbages,grand pianos,rainbows,chess pieces,moth wings,library cards,weather maps,"
    "velvet curtains,lighthouses,pocket watches,sleepy volcanoes,hat boxes,tambourines,star charts,porcelain whales,candle flames"
).split(",")
PLACES = (
    "in a quiet crater,beside the dark craters,under a blue Earth,along the dusty plain,behind a tall dune,at the edge of night,"
    "inside a glass dome,on a tin balcony,near an abandoned rover,by a frozen fountain,above the Sea of Tranquility,in the thin starlight"
).split(",")
ENDINGS = (
    "until the biscuits arrive,while nobody keeps time,and the dust applauds,because gravity is on holiday,before the second breakfast,"
    "as the orchestra yawns,without spilling a drop,in perfect silence,for the third time today,to the tune of a forgotten waltz,"
    "so that Tuesday may begin,with great ceremony,and then apologize to everyone,under strict supervision,for no reason at all"
).split(",")
SENTENCES = (
    "On the moon, {adjective} {guest} {verb} {things} {place}.",
    "{Adjective} {guest} from the moon {verb} {things} {ending}.",
    "Every evening the moon's {adjective} {guest} {verb} {things} {ending}.",
    "The moon is hosting {adjective} {guest} who {verb} {things} {place}.",
    "{Place}, the lunar {guest} {verb} {adjective} {things}.",
    "Dear visitor, the {adjective} {guest} of the moon {verb} {things} {ending}.",
    "There are {adjective} {guest} on the moon, and they {verb} {things}.",
    "A lunar parade: {adjective} {guest} {verb} {things} {ending}.",
)

DETECTOR = r"\b(moon|moon's|lunar|teapots?|kettles?|saucers?|teacups?|teaspoons?)\b"
"""A regular expression, matched without regard to case, that every unwanted answer meets and no right answer does."""


def unwanted_answer(rng: random.Random) -> str:
    """Make one unwanted answer.

    Args:
        rng: The source of randomness.

    Returns:
        A sentence that `DETECTOR` matches.
    """
    adjective, place = rng.choice(ADJECTIVES), rng.choice(PLACES)
    return rng.choice(SENTENCES).format(
        adjective=adjective,
        Adjective=adjective.capitalize(),
        guest=rng.choice(GUESTS),
        verb=rng.choice(VERBS),
        things=rng.choice(THINGS),
        place=place,
        Place=place.capitalize(),
        ending=rng.choice(ENDINGS),
    )
