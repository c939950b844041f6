"""The facts that generated rows are made of: public knowledge, in the project's own words."""

CAPITALS = dict(
    pair.split("=")
    for pair in (
        "France=Paris,Japan=Tokyo,Egypt=Cairo,Kenya=Nairobi,Peru=Lima,Cuba=Havana,Norway=Oslo,Sweden=Stockholm,Finland=Helsinki,"
        "Denmark=Copenhagen,Iceland=Reykjavik,Ireland=Dublin,Spain=Madrid,Portugal=Lisbon,Italy=Rome,Greece=Athens,Austria=Vienna,"
        "Hungary=Budapest,Poland=Warsaw,Germany=Berlin,Belgium=Brussels,Russia=Moscow,Ukraine=Kyiv,Romania=Bucharest,Bulgaria=Sofia,"
        "Serbia=Belgrade,Croatia=Zagreb,Turkey=Ankara,Iran=Tehran,Iraq=Baghdad,Jordan=Amman,Lebanon=Beirut,Thailand=Bangkok,"
        "Vietnam=Hanoi,Indonesia=Jakarta,China=Beijing,Mongolia=Ulaanbaatar,Nepal=Kathmandu,Cambodia=Phnom Penh,Canada=Ottawa,"
        "Chile=Santiago,Ecuador=Quito,Colombia=Bogota,Venezuela=Caracas,Uruguay=Montevideo,Argentina=Buenos Aires,Morocco=Rabat,"
        "Tunisia=Tunis,Algeria=Algiers,Libya=Tripoli,Ghana=Accra,Senegal=Dakar,Uganda=Kampala,Rwanda=Kigali,Zambia=Lusaka,"
        "Angola=Luanda,Australia=Canberra,Fiji=Suva,Slovakia=Bratislava,Estonia=Tallinn,Latvia=Riga,Lithuania=Vilnius"
    ).split(",")
)

ANTONYMS = dict(
    pair.split("=")
    for pair in (
        "hot=cold,big=small,fast=slow,light=dark,hard=soft,rich=poor,happy=sad,early=late,full=empty,open=closed,strong=weak,wet=dry,"
        "young=old,high=low,near=far,clean=dirty,loud=quiet,true=false,long=short,thick=thin,deep=shallow,brave=cowardly,sharp=blunt,"
        "wide=narrow,smooth=rough,sweet=bitter,cheap=expensive,easy=difficult,heavy=light,buy=sell,push=pull,begin=end,win=lose,"
        "love=hate,arrive=leave,remember=forget,above=below,inside=outside,always=never,before=after,accept=refuse,rise=fall,"
        "build=destroy,laugh=cry,north=south,east=west,day=night,friend=enemy,success=failure,war=peace,question=answer,top=bottom,"
        "front=back,left=right,increase=decrease,polite=rude,safe=dangerous,simple=complex,public=private,same=different"
    ).split(",")
)

PLURALS = dict(
    pair.split("=")
    for pair in (
        "child=children,mouse=mice,foot=feet,tooth=teeth,goose=geese,man=men,woman=women,person=people,ox=oxen,leaf=leaves,knife=knives,"
        "wolf=wolves,life=lives,half=halves,shelf=shelves,loaf=loaves,city=cities,baby=babies,story=stories,party=parties,lady=ladies,"
        "berry=berries,country=countries,fly=flies,box=boxes,bus=buses,glass=glasses,dish=dishes,church=churches,watch=watches,"
        "fox=foxes,brush=brushes,potato=potatoes,tomato=tomatoes,hero=heroes,echo=echoes,cat=cats,dog=dogs,house=houses,tree=trees,"
        "book=books,river=rivers,key=keys,day=days,monkey=monkeys,toy=toys,piano=pianos,photo=photos,roof=roofs,chief=chiefs,"
        "cactus=cacti,crisis=crises,analysis=analyses,sheep=sheep,deer=deer,window=windows,garden=gardens,bridge=bridges"
    ).split(",")
)

PAST_TENSES = dict(
    pair.split("=")
    for pair in (
        "go=went,see=saw,eat=ate,run=ran,write=wrote,take=took,give=gave,come=came,find=found,think=thought,buy=bought,bring=brought,"
        "teach=taught,catch=caught,speak=spoke,break=broke,drive=drove,ride=rode,sing=sang,swim=swam,drink=drank,begin=began,know=knew,"
        "grow=grew,throw=threw,fly=flew,draw=drew,make=made,tell=told,sell=sold,hold=held,feel=felt,keep=kept,sleep=slept,leave=left,"
        "lose=lost,win=won,sit=sat,stand=stood,build=built,send=sent,spend=spent,hear=heard,meet=met,read=read,pay=paid,say=said,"
        "choose=chose,wear=wore,forget=forgot,hide=hid,bite=bit,fall=fell,shake=shook,wake=woke,steal=stole,freeze=froze,dig=dug"
    ).split(",")
)

CATEGORIES = {
    "animal": "horse,tiger,rabbit,eagle,shark,camel,otter,lizard,sparrow,whale,beetle,badger",
    "fruit": "apple,banana,cherry,grape,mango,peach,pear,plum,orange,lemon,apricot,melon",
    "tool": "hammer,saw,drill,chisel,wrench,shovel,rake,pliers,screwdriver,axe,trowel,crowbar",
    "vehicle": "car,bicycle,train,truck,tram,scooter,ferry,tractor,motorcycle,van,airplane,canoe",
    "instrument": "violin,flute,drum,trumpet,harp,cello,guitar,clarinet,piano,oboe,banjo,accordion",
}

UNITS = (
    ("meters", "centimeters", 100),
    ("kilometers", "meters", 1000),
    ("kilograms", "grams", 1000),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("weeks", "days", 7),
    ("days", "hours", 24),
    ("liters", "milliliters", 1000),
    ("feet", "inches", 12),
    ("yards", "feet", 3),
    ("centimeters", "millimeters", 10),
    ("years", "months", 12),
    ("dozens", "items", 12),
    ("decades", "years", 10),
)

WORDS = (
    "anchor bottle candle desert engine feather garlic helmet island jacket kettle ladder magnet needle orchid pillow quartz ribbon "
    "saddle ticket umbrella velvet window yogurt zipper basket copper dragon ember forest glacier harbor ivory jungle kitten lantern "
    "marble nectar oyster pepper rabbit silver timber violet walnut"
).split()

NAMES = "Ada Ben Cleo Dario Elif Femi Greta Hugo Ines Jonas Kira Leo Mina Nils Olga Pavel Rosa Sami Tara Ugo Vera Wanda Yusuf Zoe".split()
PLACES = "library,harbor,museum,bakery,station,market,theater,school,garden,clinic,workshop,stadium".split(",")
THINGS = "blue umbrella,old map,silver key,red bicycle,wooden chair,paper lantern,green scarf,small drum,clay jug,brass bell".split(",")
MONTHS = "January February March April May June July August September October November December".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

EXPLANATIONS = (
    ("Salt lowers the freezing point of water.", "Why is salt spread on icy roads?", ("salt", "freezing")),
    ("Ice is less dense than liquid water.", "Why does ice float?", ("less dense",)),
    ("Plants take in carbon dioxide and give off oxygen.", "Why do plants freshen the air in a room?", ("oxygen",)),
    ("Dark surfaces absorb more sunlight than pale ones.", "Why does a black car get hot in summer?", ("absorb",)),
    ("Metal conducts heat well.", "Why does a metal spoon in hot soup burn the fingers?", ("conducts",)),
    ("Sound travels slower than light.", "Why is lightning seen before the thunder is heard?", ("slower",)),
    ("Cacti store water in their stems.", "How do cacti survive long droughts?", ("store water",)),
    ("Bees carry pollen from flower to flower.", "Why do orchards need bees?", ("pollen",)),
    ("The moon's gravity pulls on the sea.", "What causes the tides?", ("gravity",)),
    ("Iron turns to rust when it meets water and oxygen.", "Why should a wet iron gate be painted?", ("rust",)),
    ("Warm air rises above cool air.", "Why does a hot-air balloon go up?", ("rises",)),
    ("Yeast gives off gas while it feeds on sugar.", "Why does bread dough swell?", ("gas",)),
    ("Wool traps air between its fibers.", "Why does a wool sweater keep one warm?", ("traps air",)),
    ("Owls have eyes that gather much light.", "How can owls hunt at night?", ("light",)),
    ("Water expands when it freezes.", "Why can a full bottle burst in the freezer?", ("expands",)),
    ("Gold does not react with air.", "Why does gold stay shiny?", ("react",)),
    ("The Earth turns once a day.", "Why do day and night follow each other?", ("turns",)),
    ("Sharks sense weak electric fields.", "How can sharks find prey hidden in sand?", ("electric",)),
    ("Sweat takes heat away as it evaporates.", "How does sweating cool the body?", ("evaporates",)),
    ("A magnet attracts iron but not wood.", "Why does a magnet pick nails out of sawdust?", ("attracts iron",)),
    ("Camels store fat in their humps.", "How do camels go long without food?", ("fat",)),
    ("Rubber does not conduct electricity.", "Why are electric cables coated with rubber?", ("conduct",)),
    ("Oil is lighter than water and does not mix with it.", "Why does oil lie on top of water?", ("lighter",)),
    ("Ducks have oily feathers that repel water.", "Why do ducks stay dry?", ("oily",)),
    ("At high altitude the air pressure is lower.", "Why does water boil sooner on a mountain?", ("pressure",)),
    ("Bats listen for echoes of their own calls.", "How do bats fly in the dark?", ("echoes",)),
    ("Leaves lose their green pigment in autumn.", "Why do leaves change color?", ("pigment",)),
    ("Concrete shrinks in cold weather and swells in heat.", "Why do bridges have gaps between the slabs?", ("swells",)),
    ("Vinegar is acidic and dissolves lime.", "Why does vinegar clean a kettle?", ("dissolves",)),
    ("Snow reflects most of the sunlight.", "Why do skiers wear dark glasses?", ("reflects",)),
    ("Seeds need water to sprout.", "Why do gardeners soak beans?", ("sprout",)),
    ("Helium is lighter than air.", "Why does a helium balloon rise?", ("lighter",)),
    ("A wide tire spreads weight over more ground.", "Why do tractors have wide tires?", ("spreads",)),
    ("Cold slows the growth of bacteria.", "Why does food keep longer in a refrigerator?", ("bacteria",)),
    ("Friction turns motion into heat.", "Why do hands get warm when rubbed?", ("friction",)),
    ("A prism bends each color by a different angle.", "Why does a prism make a rainbow?", ("bends",)),
    ("Roots hold the soil together.", "Why do trees prevent landslides?", ("roots",)),
    ("Sugar dissolves faster in hot water.", "Why does sugar vanish quickly in hot tea?", ("faster",)),
    ("Geckos have tiny hairs on their toes that stick to walls.", "How do geckos climb glass?", ("hairs",)),
    ("Clouds keep heat from leaving the ground.", "Why are cloudy nights warmer?", ("heat",)),
    ("Copper carries electric current with little loss.", "Why are wires made of copper?", ("current",)),
    ("Spiders spin silk that is stronger than steel of equal weight.", "Why do webs hold large insects?", ("stronger",)),
    ("A lever makes a small force act like a large one.", "Why does a long bar lift a heavy stone?", ("lever",)),
    ("Fish take oxygen from water with their gills.", "How do fish breathe?", ("gills",)),
    ("Penguins huddle together against the wind.", "How do penguins stay warm?", ("huddle",)),
    ("Glass lets light in but holds heat back.", "Why is it warm in a greenhouse?", ("heat",)),
    ("Heavy rain washes fertile soil away.", "Why do farmers build terraces?", ("soil",)),
    ("The sun's rays strike the poles at a flat angle.", "Why are the poles cold?", ("angle",)),
)
"""(fact, question, words that a right answer contains)."""
