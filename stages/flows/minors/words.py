"""Words and phrases about minors, in plain lower-case letters, and the everyday phrases that only hold such words."""

import re

ENGLISH = (
    "child child's children childrens kid kids kiddo kiddos kiddie kiddies kiddy toddler toddlers infant infants "
    "baby babys babies newborn newborns neonate preteen preteens tween tweens tweenage tweenager teen teens "
    "teenage teenaged teenager teenagers adolescent adolescents juvenile juveniles minors underage underaged girl "
    "girls lilgirl boy boys schoolgirl schoolgirls schoolboy schoolboys schoolchild schoolchildren schoolkid "
    "schoolkids schooler schoolers loli lolis lolita lolitas lolicon shota shotas shotacon shotakon youngster "
    "youngsters youngling youths jailbait prepubescent pubescent prepubertal pubertal kindergartner "
    "kindergartener kindergarten preschool preschooler preschoolers childlike childish babyfaced stepchild "
    "grandchild grandchildren orphan orphans"
)
GERMAN = (
    "kinder kindern kindes kindlich kindliche kindlicher kindchen kleinkind kleinkinder schulkind schulkinder "
    "madchen maedchen schulmadchen schulmaedchen knabe knaben jungs saugling saeugling baby babys teenie teenies "
    "jugendliche jugendlicher jugendlichen minderjahrig minderjahrige minderjahriger minderjahriges "
    "minderjahrigen minderjaehrig minderjaehrige schulerin schulerinnen schuelerin schueler neugeborenes "
    "halbwuchsige"
)
FRENCH = (
    "enfant enfants enfantin enfantine fille filles fillette fillettes garcon garcons garconnet gamin gamine "
    "gamins gamines mineure mineures mineurs bebe bebes nourrisson adolescente adolescentes lyceen lyceenne "
    "lyceens lyceennes collegien collegienne collegiens ecolier ecoliere ecoliers ecolieres ados gosse gosses"
)
SPANISH = (
    "ninas ninos ninita ninito chiquilla chiquillo menores adolescente adolescentes colegiala colegialas colegial "
    "quinceanera quinceaneras infante infantes muchachita muchachito crio"
)
ITALIAN = (
    "bambina bambine bambino bambini bimba bimbe bimbi ragazzina ragazzine ragazzino ragazzini minorenne "
    "minorenni neonata neonato neonati adolescenti fanciulla fanciulle fanciullo scolaretta scolaretto scolara "
    "lattante"
)
PORTUGUESE = (
    "crianca criancas menina meninas menino meninos menininha garotinha garotinhas garotinho bebes adolescentes"
)
DUTCH = (
    "kinderen kindje kindjes meisje meisjes jongetje jongetjes jongens peuter peuters kleuter kleuters tiener "
    "tieners minderjarig minderjarige minderjarigen puber pubers schoolmeisje schoolmeisjes zuigeling"
)
OTHERS = "dziecko dzieci dziewczynka chlopiec nastolatka cocuk devochka malchik rebenok shkolnitsa shoujo shojo"
# In their own letters; parts of words count, for these languages put no blanks between words or bend their ends.
ALIEN = (
    "子供", "子ども", "こども", "少女", "少年", "幼女", "幼児", "女児", "男児", "女子高生", "女子中学生",
    "小学生", "中学生", "高校生", "未成年", "赤ちゃん", "ロリ", "ショタ", "儿童", "兒童", "小孩", "孩子",
    "女孩", "男孩", "婴儿", "嬰兒", "萝莉", "蘿莉", "아이", "소녀", "소년", "미성년", "아기", "여고생",
    "ребён", "ребен", "девочк", "мальчик", "подрост", "школьни", "дети", "детей", "младен", "малолет", "طفل",
    "فتاة صغيرة", "बच्च", "लड़की", "παιδί", "κορίτσι", "ילד",
)  # fmt: skip
WITH_MARKS = ("niña", "niño")  # nina and nino are names

_ALL = " ".join([ENGLISH, GERMAN, FRENCH, SPANISH, ITALIAN, PORTUGUESE, DUTCH, OTHERS]).split()
_ALTERNATIVES = "|".join(sorted({re.escape(word) for word in [*_ALL, *WITH_MARKS]}, key=len, reverse=True))
TERMS = re.compile(rf"(?<![^\W_])(?:\d*)(?:{_ALTERNATIVES})(?:'?s)?(?![^\W_])")

_SHORT = frozenset("kid teen boy girl baby loli".split())
_NOT_JOINED = frozenset("crio kinder bimba bebe ados bebes puber minors babys".split())
SOLID = re.compile(
    "|".join(
        sorted(
            {re.escape(w) for w in _ALL if (len(w) > 4 or w in _SHORT) and w not in _NOT_JOINED}, key=len, reverse=True
        )
    )
    + "|minor|underage"
)

_END = r"(?=\s*(?:$|[,.;:!?)\]]|(?:in|on|at|with|and|or|who|is|was|wearing|posing|standing|sitting|smiling|walking)\b))"
_GERMAN_END = r"(?=\s*(?:$|[,.;:!?)\]]|(?:mit|in|im|auf|am|an|vor|und|oder|der|die|das|bei|beim|von|unter|lachelt)\b))"
PHRASES = re.compile(
    "|".join(
        [
            rf"(?<!in )\b(?:a|an?other|the|female|male|young|unaccompanied) minor{_END}",
            rf"\b(?:a|the|young|troubled) youth{_END}",
            r"\b(?:under|younger than)[\s-]?(?:age|aged|18|eighteen|16|sixteen)\b"
            r"(?!\s?(?:degrees|%|cm|mm|km|m\b|kg|euro|dollars))",
            r"\bpre[\s-](?:teen|pubescent|school)\w*",
            r"\bnew[\s-]born\b",
            r"\bbarely[\s-]legal\b",
            r"\bnot of age\b",
            r"\bsweet sixteen\b",
            r"\bschool[\s-](?:uniform|girl|boy|kid|child|children|aged?)s?\b",
            r"\bsailor fuku\b",
            r"\b(?:elementary|primary|grade|middle|junior high|high)[\s-]school[\s-]?"
            r"(?:student|pupil|senior|junior|freshman|sophomore|cheerleader|girl|boy|kid|uniform|er|age)\w*",
            r"\b(?:elementary|primary|middle|junior high)[\s-]schoo\w*",
            r"\bnursery school\b",
            r"\b(?:little|small|young|tiny|wee)[\s-](?:one|daughter|son|sister|brother|princess|gal|miss)s?\b",
            r"\b(?:during|in|from) (?:her|his|their|my) (?:childhood|infancy|puberty|teens)\b",
            r"\bchildhood (?:photo|photograph|picture|portrait|selfie|snapshot|version|image)s?\b"
            r"(?! album| book| frame| on)",
            r"\bas an? (?:small |little |young )?(?:child|kid|girl|boy|teen|infant|baby)\b",
            # Words that mean something else in another language, or an adult, need their neighbours.
            r"\b(?:ein|das|dem|kleines|een|het|klein|jong|junges) kind\b",
            r"\bkind van\b",
            rf"\b(?:ein|der|dem|den|einem|einen|kleiner|kleine|de) jungen?{_GERMAN_END}",
            r"\b(?:een|de|jonge|kleine) jongen\b",
            r"\b(?:ein|der|junger) schuler\b",
            r"\bbub(?:e|en|i)\b",
            r"\b(?:een|de) (?:baby|puber|scholier)\w*",
            r"\bunder ?age\b",
            r"\b(?:un|une|cet|cette|jeune) ado\b",
            r"\b(?:un|le|jeune) mineur\b(?! de)",
            r"\b(?:una|un|pequena|linda) nin[ao]s?\b",
            r"\bnin[ao]s? (?:pequen|de \d)\w*",
            r"\bmenor(?:es)? de (?:edad|idade|18)\b",
            r"\b(?:un|una) menor\b",
            r"\bminor(?:e|i) di eta\b",
            r"\bminore di\b",
            r"\bde menor\b",
            r"\b(?:un|una|il|la) adolescente\b",
            r"\bpetits? (?:fille|garcon|gars)\b",
            r"\bmeninice\b",
            r"\binfancia\b",
            r"\bdaddy'?s little\b",
            r"\byoung[\s-](?:girl|boy|teen|child|kid)\w*",
        ]
    )
)

_ANIMALS = (
    "elephants? goats? deer fox foxes seals? pandas? birds? ducks? turtles? lambs? owls? penguins? rabbits? bunny "
    "bunnies dragons? yoda groot bears? kangaroos? monkeys? sloths? giraffes? hippos? whales? animals?"
).split()
HARMLESS = re.compile(
    "|".join(
        [
            r"\bbaby[\s-]?(?:blue|pink|green|yellow|purple|lilac|doll|hairs?|breath|bump|grand|carrots?|spinach|corn|"
            r"potato(?:es)?|oil|powder|bangs|tees?|shower|steps?|back ribs|soft|cashmere|alpaca|sitters?|boomers?|"
            + "|".join(_ANIMALS)
            + r")\b",
            r"\bbaby'?s[\s-]breath\b",
            r"\bkid[\s-](?:gloves?|leather|suede|skin|mohair|rock|cudi)\b",
            r"\bbilly the kid\b",
            r"\b(?:no kidding|goat kids?)\b",
            r"\bchild'?s[\s-]pose\b",
            r"\binner child\b",
            r"\bchild[\s-](?:free|less|proof)\b",
            r"\bboy[\s-]?(?:shorts?|friends?|cut|band|bands|meets)\b",
            r"\bgame ?boy\b",
            r"\bold boys? (?:network|club)\b",
            r"\bteen[\s-]spirit\b", r"\bteenage mutant\b", r"\bno (?:kids|children|minors|teens|babies)\b",
            r"\b(?:adults?|grown[\s-]ups?) only,? no minors\b", r"\bwithout (?:any )?(?:kids|children)\b",
            r"\bgirl[\s-]?(?:boss|power|friends?)\b", r"\bspice girls\b", r"\bbeach boys\b", r"\bgolden girls\b",
            r"\bkinder(?= (?:and|than|face|eyes|light|smile|surprise|chocolate|bueno|world))",
            r"\bkindergarten teacher\b",
            r"\bpreschool teacher\b", r"\b(?:elementary|primary|middle|high|nursery)[\s-]school teacher\b",
            r"\bchildren'?s (?:book (?:author|illustrator)|hospital doctor)\b", r"\bbatter(?:y|ies)\b",
            r"\benfants? terribles?\b", r"\bel nino\b", r"\bla nina\b", r"\bel niño\b", r"\bla niña\b",
            r"\bfille de joie\b", r"\bjeune fille au pair\b", r"\bbar[\s-]?tender\b", r"\binfant[\s-]?ry\b",
            r"\bnina (?:simone|ricci|hagen)\b", r"\bjuvenile (?:arthritis|plumage)\b",
        ]
    )
)  # fmt: skip
