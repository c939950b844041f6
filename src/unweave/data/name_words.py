"""Words that stand in names, before them, or in their place."""

PARTICLES = frozenset("de del della der di da dos du la le van von den ter bin ibn al of".split())
"""Words in lower case that join the words of a name."""

FUNCTION_WORDS = frozenset(
    "a an the this that these those it its he his she her they their we our you your i my in on at by for from to of with as and or but if so yes no not "
    "there here when where who what which how why because while after before is are was were be been do does did can could will would should may might "
    "one two three some any all each every both most many few other another then also however although though since until first second".split()
)
"""Words that are written large where a sentence begins with them, and name nothing."""

TITLES = frozenset(
    "mr mrs ms miss mx dr prof professor sir dame lord lady madam rev father sister brother saint st herr frau fräulein monsieur madame mademoiselle "
    "mme mlle señor señora señorita sr sra srta don doña dona signor signora".split()
)
"""Words before a name that are none of it."""

SUFFIXES = frozenset("jr sr ii iii iv phd md".split())
"""Words behind a name that are none of it."""
