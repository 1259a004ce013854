"""What a poster shows for each genre, drawn about a focus and out to the edges of the canvas.

All are strings of SVG elements in the units of :class:`~matinee.world.shapes.Scene`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

from matinee.world.shapes import Scene, circle, ellipse, polygon, shape, stroke


def burst(s: Scene) -> str:
    """Rays, a flash and speed: action and adventure."""

    def at(far: float, turn: float) -> tuple[float, float]:
        return far * cos(turn * pi), far * sin(turn * pi)

    reach, turn = s.right - s.left + s.bottom - s.top, s.between(0, 0.1, 1)[0]
    rays = "".join(
        polygon([(0, 0), at(reach, turn + i / 7), at(reach, turn + (i + 0.45) / 7)])
        for i in range(14)
    )
    spikes = [
        at(far if i % 2 else 46, turn + i / 11) for i, far in enumerate(s.between(75, 125, 22))
    ]
    slashes = "".join(
        f"M{x:.0f},{y:.0f}l{40 + 90 * t:.0f},{-28 - 63 * t:.0f}" for x, y, t in s.scattered(8)
    )
    return (
        shape(rays, s.colours.accent, 0.25)
        + stroke(slashes, s.colours.light, 3, 0.6)
        + shape(polygon(spikes), s.colours.accent)
        + circle(0, 0, 34, s.colours.light)
    )


def smiles(s: Scene) -> str:
    """Wide smiles and confetti: comedy."""
    c = s.colours
    arcs = "".join(
        stroke(f"M-{far},0a{far},{far} 0 0 0 {2 * far},0", tint, 18)
        for far, tint in ((96, c.accent), (70, c.light), (44, c.ink))
    )
    eyes = circle(-38, -46, 14, c.ink) + circle(38, -46, 14, c.ink)
    confetti = "".join(
        stroke(_flecks(s, 11, 12), tint, width)
        for tint, width in ((c.accent, 8), (c.light, 7), (c.ink, 5))
    )
    return confetti + arcs + eyes


def _flecks(s: Scene, count: int, size: float) -> str:
    """Short strokes all over the canvas, in all directions."""
    return "".join(
        f"M{x:.0f},{y:.0f}l{size * cos(7 * t):.0f},{size * sin(7 * t):.0f}"
        for x, y, t in s.scattered(count)
    )


def horizon(s: Scene) -> str:
    """Somebody alone before a low sun over water: drama."""
    c, stands = s.colours, s.between(-45, 45, 1)[0]
    waves = "".join(
        f"M{-width:.0f},{56 + 12 * i}h{2 * width:.0f}"
        for i, width in enumerate(s.between(30, 70, 7))
    )
    person = "M0,-58a9,9 0 0 1 0,18a9,9 0 0 1 0,-18M-11,-36Q0,-42 11,-36L15,4H10L7,44H-7L-10,4H-15z"
    return (
        circle(0, 18, 78, c.light)
        + shape(s.ground(44), c.sky, 0.85)
        + stroke(waves, c.light, 3, 0.6)
        + shape("M-7,46H7L12,130H-12z", c.ink, 0.4, f"translate({stands:.0f})")
        + shape(person, c.ink, place=f"translate({stands:.0f})")
    )


HEART = "M0,80C-130,-10 -75,-100 0,-40C75,-100 130,-10 0,80z"


def hearts(s: Scene) -> str:
    """Two hearts that overlap, and petals: romance."""
    c = s.colours
    return (
        stroke(_flecks(s, 12, 9), c.light, 10, 0.4)
        + stroke(_flecks(s, 9, 5), c.accent, 7, 0.8)
        + shape(HEART, c.accent, 0.95, "translate(-34 -6) rotate(-13) scale(.88)")
        + shape(HEART, c.light, 0.78, "translate(36 10) rotate(13) scale(.82)")
    )


def stage(s: Scene) -> str:
    """Spotlights on a record, and notes: musicals and music."""
    c, low = s.colours, s.bottom
    lights = "".join(
        polygon([(at, s.top - 20), (to - 70, low), (to + 70, low)])
        for at, to in zip((-150, -10, 140), s.between(-90, 90, 3), strict=True)
    )
    grooves = "".join(
        f"M-{far},0a{far},{far} 0 1 0 {2 * far},0a{far},{far} 0 1 0 -{2 * far},0"
        for far in (82, 69, 56, 43)
    )
    notes = "".join(
        shape(
            "M0,0a9,7 0 1 1 -4,-6V-40Q2,-28 14,-26V-20Q4,-20 0,-28z",
            c.light,
            place=f"translate({x:.0f} {y:.0f}) scale({0.7 + 0.6 * t:.1f})",
        )
        for x, y, t in s.scattered(7)
    )
    return (
        shape(lights, c.light, 0.2)
        + notes
        + circle(0, 0, 95, c.ink)
        + stroke(grooves, c.glow, 1.5, 0.5)
        + circle(0, 0, 31, c.accent)
        + circle(0, 0, 5, c.ink)
    )


HAT = (
    "M-95,260C-95,110 -60,95 -25,80V50C-42,30 -46,5 -45,-18L-85,-24Q-90,-34 -78,-36L-48,-42"
    "Q-42,-95 -20,-98Q0,-86 20,-98Q42,-95 48,-42L78,-36Q90,-34 85,-24L45,-18C46,5 42,30 25,50V80"
    "C60,95 95,110 95,260z"
)


def blinds(s: Scene) -> str:
    """Light through venetian blinds on somebody with a hat: crime, thrillers and mysteries."""
    c, lean = s.colours, s.between(14, 40, 1)[0]
    slats = "".join(f"M-130,{y}L130,{y - lean:.0f}v15L-130,{y + 15}z" for y in range(-130, 210, 31))
    return (
        shape(slats, c.accent, 0.9)
        + shape(HAT, c.ink, place=f"translate({(lean - 27) * 2:.0f} 12) scale(.72)")
        + shape(slats, c.accent, 0.14)
    )


def moonlit(s: Scene) -> str:
    """A moon behind a jagged wood, and bats: horror."""
    c = s.colours
    bat = "M0,0Q-8,-12 -26,-10Q-16,-4 -14,6Q-6,0 0,8Q6,0 14,6Q16,-4 26,-10Q8,-12 0,0z"
    bats = "".join(
        shape(bat, c.ink, place=f"translate({x:.0f} {y:.0f}) scale({0.4 + size:.1f})")
        for x, y, size in s.luck.uniform((-100, -75, 0.1), (100, 10, 0.9), (4, 3))
    )
    step = (s.right - s.left) / 20
    trees = "".join(
        f"M{s.left + step * i - 6:.0f},{s.bottom:.0f}l16,{-tall:.0f}l18,{tall:.0f}z"
        for i, tall in enumerate(s.between(s.bottom - 105, s.bottom - 25, 21))
    )
    return (
        circle(0, 0, 88, c.light)
        + circle(-26, -20, 13, c.glow, 0.5)
        + circle(22, 30, 19, c.glow, 0.4)
        + shape(s.ridge(90, 26, 34), c.accent, 0.7)
        + bats
        + shape(trees, c.ink)
    )


def planets(s: Scene) -> str:
    """A ringed planet above a grid of light: science fiction."""
    c, tilt = s.colours, f"rotate({s.between(-28, -10, 1)[0]:.0f})"
    stars = "".join(f"M{x:.0f},{y:.0f}h{2 * t:.1f}" for x, y, t in s.scattered(24))
    rows = "".join(f"M{s.left:.0f},{100 + 4 * 1.7**i:.0f}H{s.right:.0f}" for i in range(7))
    columns = "".join(f"M{14 * i},104L{120 * i},{s.bottom + 60:.0f}" for i in range(-8, 9))
    return (
        stroke(stars, c.light, 2.5, 0.8)
        + stroke(rows + columns, c.accent, 1.3, 0.6)
        + stroke("M-112,0A112,28 0 0 1 112,0", c.light, 6, place=tilt)
        + circle(0, 0, 66, c.accent)
        + shape("M-46,-47A66,66 0 1 0 47,46A84,84 0 0 1 -46,-47z", c.ink, 0.5)
        + stroke("M-112,0A112,28 0 0 0 112,0", c.light, 6, place=tilt)
        + circle(-104, -78, 13, c.light)
    )


def castle(s: Scene) -> str:
    """A castle on a mountain under a great moon: fantasy."""
    c = s.colours
    towers = "".join(
        f"M{x},80V{top:.0f}h-3l{half + 3},{-4.4 * half:.0f}l{half + 3},{4.4 * half:.0f}h-3V80z"
        for x, half, top in zip(
            (-54, -34, -11, 16, 38), (6, 5, 10, 6, 7), s.between(-12, 32, 5), strict=True
        )
    )
    walls = "M-48,80V36h6v-6h6v6h6v-6h6v6h60v-6h6v6h6v-6h6v6V80z"
    rock = f"M-170,{s.bottom:.0f}L-92,104L-74,76L-56,66H56L72,84L104,96L160,{s.bottom:.0f}z"
    sparks = "".join(
        f"M{x:.0f},{y - a:.0f}q0,{a:.0f} {a:.0f},{a:.0f}q{-a:.0f},0 {-a:.0f},{a:.0f}"
        f"q0,{-a:.0f} {-a:.0f},{-a:.0f}q{a:.0f},0 {a:.0f},{-a:.0f}z"
        for x, y, a in ((x, y, 4 + 9 * t) for x, y, t in s.scattered(13))
    )
    windows = "M-3,18v9M-3,44v7M-29,50v6M21,48v6M46,46v7M-47,52v6"
    return (
        shape(sparks, c.light)
        + circle(0, -8, 90, c.light)
        + shape(s.ridge(95, 32, 52), c.accent, 0.75)
        + shape(towers + walls + rock, c.ink)
        + stroke(windows, c.light, 4)
    )


def balloons(s: Scene) -> str:
    """Balloons among clouds: families and animation."""
    c = s.colours
    clouds = "".join(
        shape(
            "M0,0a18,18 0 0 1 24,-22a26,26 0 0 1 48,4a16,16 0 0 1 6,18z",
            "#fff",
            0.65,
            f"translate({x:.0f} {y:.0f}) scale({0.7 + 0.7 * t:.1f})",
        )
        for x, y, t in s.scattered(5)
    )
    spots = zip((-72, 70, -36, 38, 0), (8, 14, -52, -46, 16), s.between(-8, 8, 5), strict=True)
    up = [(x + move, y - move) for x, y, move in spots]
    strings = "".join(f"M{x:.0f},{y + 36:.0f}Q{x / 4:.0f},100 0,210" for x, y in up)
    tints = (c.accent, c.light, c.ink, c.accent, c.light)
    skins = "".join(
        ellipse(x, y, 30, 36, tint) + ellipse(x - 11, y - 14, 5, 9, "#fff", opacity=0.55)
        for (x, y), tint in zip(up, tints, strict=True)
    )
    return clouds + stroke(strings, c.ink, 1.5, 0.7) + skins


def temple(s: Scene) -> str:
    """Columns over the lines of a map: documentaries, lives and history."""
    c, width = s.colours, s.right - s.left
    lines = "".join(
        f"M{s.left - 5:.0f},{s.top + 55 * i:.0f}"
        f"q{width / 4:.0f},{bend:.0f} {width / 2:.0f},0t{width / 2 + 9:.0f},0"
        for i, bend in enumerate(s.between(-45, 45, int((s.bottom - s.top) / 55) + 1))
    )
    columns = "".join(f"M{x - 9},84V-36h18V84z" for x in (-75, -38, 0, 38, 75))
    roof = "M-104,-44L0,-96L104,-44zM-98,86H98v9H-98zM-112,99H112v10H-112z"
    return (
        stroke(lines, c.light, 2, 0.45) + circle(0, 0, 88, c.accent) + shape(columns + roof, c.ink)
    )


def searchlights(s: Scene) -> str:
    """Beams over dark hills before dawn: war."""
    c, up = s.colours, s.top - 20
    beams = "".join(
        polygon([(x, 100), (x + lean - 34, up), (x + lean + 34, up)])
        for x, lean in zip((-115, -15, 95), s.between(-120, 120, 3), strict=True)
    )
    hills = [
        shape(s.ridge(60 + 34 * i, 14, 58), tint) for i, tint in enumerate((c.accent, c.sky, c.ink))
    ]
    return shape(beams, c.light, 0.3) + circle(0, 36, 58, c.light) + "".join(hills)


def mesas(s: Scene) -> str:
    """Table mountains before a great sun: westerns."""
    c = s.colours
    rocks = "".join(
        f"M{x - 70},74l26,{-height:.0f}h{88}l26,{height:.0f}z"
        for x, height in zip((-95, 105), s.between(40, 85, 2), strict=True)
    )
    cactus = "M0,0V-66M0,-22H-20V-46M0,-32H20V-56"
    return (
        circle(0, 0, 86, c.light)
        + shape(rocks, c.accent)
        + shape(s.ground(72), c.ink)
        + stroke(cactus, c.ink, 11, place=f"translate({s.between(-30, 30, 1)[0]:.0f} 76)")
    )


def track(s: Scene) -> str:
    """The lanes of a track and a ball in flight: sport."""
    c, x = s.colours, s.between(-40, 40, 1)[0]
    lanes = "".join(
        circle(0, 300, far, c.light) + circle(0, 300, far - 3, tint)
        for far, tint in ((240, c.accent), (212, c.accent), (184, c.accent), (156, c.ink))
    )
    flight = f"M-130,60Q-40,-90 {x:.0f},-30"
    return (
        lanes + f'<path d="{flight}" fill="none" stroke="{c.light}" stroke-width="5" '
        f'stroke-dasharray="1 14" stroke-linecap="round"/>'
        + circle(x, -30, 38, c.light)
        + stroke(f"M{x - 26:.0f},-52q26,22 0,46M{x + 26:.0f},-52q-26,22 0,46", c.ink, 3)
    )


MOTIFS: dict[str, Callable[[Scene], str]] = {
    "Action": burst,
    "Adventure": burst,
    "Comedy": smiles,
    "Drama": horizon,
    "Romance": hearts,
    "Musical": stage,
    "Music": stage,
    "Crime": blinds,
    "Thriller": blinds,
    "Mystery": blinds,
    "Horror": moonlit,
    "Sci-Fi": planets,
    "Fantasy": castle,
    "Family": balloons,
    "Animation": balloons,
    "Documentary": temple,
    "Biography": temple,
    "History": temple,
    "War": searchlights,
    "Western": mesas,
    "Sport": track,
}
"""What is drawn for a genre."""
