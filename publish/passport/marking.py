"""The machine-readable words "drawn by a trained model": IPTC's digital source type, in XMP and in the credentials."""

import re
from importlib.metadata import PackageNotFoundError, version

# https://cv.iptc.org/newscodes/digitalsourcetype: what C2PA and IPTC Photo Metadata 2025.1 both say of such pictures.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = SOURCE_TYPES + "trainedAlgorithmicMedia"
MARKS = frozenset((TRAINED, SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"))
_STATED = re.compile(
    rb"DigitalSourceType[^<>]{0,200}?[\s=\"'>]+(https?://cv\.iptc\.org/newscodes/digitalsourcetype/\w+)"
)
_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp:CreatorTool="{tool}"
    Iptc4xmpExt:DigitalSourceType="{source}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def tool_version() -> str:
    """Pistachio's version."""
    try:
        return version("pistachio")
    except PackageNotFoundError:  # started from a folder that was never installed
        return "0"


def render_xmp() -> bytes:
    """The packet that every published picture carries: the tool, and that a model drew it."""
    return _PACKET.format(tool=f"Pistachio {tool_version()}", source=TRAINED).encode()


def find_source_type(xmp: bytes) -> str:
    """IPTC's digital source type that a packet states; empty: none."""
    found = _STATED.search(xmp)
    return found[1].decode().replace("https:", "http:") if found else ""
