"""The look of the pages: light and dark, wide and narrow, on paper."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--muted:#57606a;--grid:#d5dae0;
--panel:#f4f6f8;--link:#0550ae;--good:#116329;--bad:#b3182a;--doubt:#7d4e00;
--good-back:#dff5e3;--bad-back:#ffe3e3;--doubt-back:#fff3cd;
--series-1:#0b62c4;--series-2:#b35900;--series-3:#2c7a3f;--series-4:#8250df;--series-5:#8a93a0;
--h1:#f0f5fd;--h2:#dbe8fb;--h3:#c3d9f7;--h4:#a9c8f2}
@media(prefers-color-scheme:dark){:root{--back:#0f1419;--text:#e6eaee;--muted:#a3adb8;
--grid:#3a434d;--panel:#1a2129;--link:#7ab7ff;--good:#7ee29a;--bad:#ff9a9a;--doubt:#f2c55c;
--good-back:#12341d;--bad-back:#4a1519;--doubt-back:#3d2e05;
--series-1:#6cb2ff;--series-2:#ffa657;--series-3:#7ee29a;--series-4:#d2a8ff;--series-5:#8b97a5;
--h1:#16212e;--h2:#1a2c42;--h3:#1e3857;--h4:#22456d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:78rem;padding:1rem 1.25rem 3rem;background:var(--back);
color:var(--text);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.25;margin:.2rem 0 .5rem;padding:.75rem 1rem;border-radius:8px;
border-left:.5rem solid var(--doubt);background:var(--doubt-back);color:var(--doubt)}
h1.plain{border-color:var(--muted);background:var(--panel);color:var(--text)}
h1.good{border-color:var(--good);background:var(--good-back);color:var(--good)}
h1.bad{border-color:var(--bad);background:var(--bad-back);color:var(--bad)}
h2{font-size:1.2rem;margin:2.2rem 0 .4rem;padding-top:.8rem;border-top:1px solid var(--grid)}
h3{font-size:.95rem;margin:1.2rem 0 .3rem}
p{margin:.4rem 0;max-width:62rem}.note{color:var(--muted);font-size:.9rem}a{color:var(--link)}
header p{max-width:none}.reason{font-weight:600}
nav{margin:.8rem 0 0;font-size:.82rem;line-height:1.9}nav a{margin-right:.7rem;
text-decoration:none;white-space:nowrap}nav a:hover{text-decoration:underline}
.states{display:flex;gap:2px;margin:.5rem 0;border-radius:6px;overflow:hidden;font-size:.83rem;
font-weight:600}.states span{padding:.18rem .6rem;min-width:max-content;background:var(--panel)}
.states .good{background:var(--good-back);color:var(--good)}
.states .bad{background:var(--bad-back);color:var(--bad)}
.states .doubt{background:var(--doubt-back);color:var(--doubt)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11.5rem,1fr));gap:.6rem;
margin:.8rem 0}.tiles div{border:1px solid var(--grid);border-radius:8px;padding:.5rem .75rem}
.tiles div.bad{border-color:var(--bad)}.tiles div.doubt{border-color:var(--doubt)}
dt{color:var(--muted);font-size:.8rem}dd{margin:0;font-size:1.25rem;font-weight:600;
line-height:1.3;font-variant-numeric:tabular-nums}
dd.sub{font-size:.78rem;font-weight:400;color:var(--muted);line-height:1.35}
dt+dd{white-space:nowrap}.bad dt+dd{color:var(--bad)}.doubt dt+dd{color:var(--doubt)}
.scroll{overflow-x:auto;max-width:100%}.scroll svg{display:block;width:100%;min-width:48rem;
height:auto}svg text{font-family:system-ui,sans-serif}
table{border-collapse:collapse;font-size:.87rem}
th,td{padding:.24rem .6rem;text-align:left;border-bottom:1px solid var(--grid);vertical-align:top}
thead th{background:var(--panel);white-space:nowrap}
tbody th{font-weight:500;min-width:13rem}.stack tbody th{min-width:17.5rem}
.stack td:nth-child(2){white-space:nowrap}
.fit tbody th{min-width:0;white-space:nowrap}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.h1{background:var(--h1)}.h2{background:var(--h2)}.h3{background:var(--h3)}.h4{background:var(--h4)}
td.good,td.bad,td.doubt{font-weight:600;white-space:nowrap}td.good{color:var(--good)}
td.bad{color:var(--bad)}td.doubt{color:var(--doubt)}td.wide{min-width:20rem}
.sub{display:block;font-size:.85em;color:var(--muted);font-weight:400}
table.grid{border-collapse:separate;border-spacing:3px;margin:.6rem 0}
.grid th,.grid td{border:0;border-radius:5px}.grid thead th{background:none;font-weight:500;
white-space:normal;min-width:6rem;text-align:center;vertical-align:bottom;color:var(--muted)}
.grid tbody th{min-width:8rem;vertical-align:middle}
.grid td{text-align:center;font-weight:400;background:var(--panel);line-height:1.35;
white-space:nowrap;color:var(--text);font-variant-numeric:tabular-nums}
.grid td b{display:block;font-size:1.1em}
.grid small{font-weight:400;font-size:.8em}.grid td.good{background:var(--good-back)}
.grid td.bad{background:var(--bad-back)}.grid td.doubt{background:var(--doubt-back)}
.grid td.h1{background:var(--h1)}.grid td.h2{background:var(--h2)}.grid td.h3{background:var(--h3)}
.grid td.h4{background:var(--h4)}.grid td.none{background:none;color:var(--muted)}
.grid .state{display:block;font-size:.85em;font-weight:600}.grid .good .state{color:var(--good)}
.grid .bad .state{color:var(--bad)}.grid .doubt .state{color:var(--doubt)}
.meter{display:inline-block;width:9rem;height:.7rem;margin-right:.6rem;background:var(--panel);
border-radius:3px;overflow:hidden}.meter i{display:block;height:100%;background:var(--series-1)}
tr.total th,tr.total td{font-weight:600;border-top:2px solid var(--grid)}
details{margin:.6rem 0}summary{cursor:pointer;font-weight:600}
code,pre{font:.87em/1.45 ui-monospace,monospace}
pre{background:var(--panel);padding:.6rem .8rem;border-radius:6px;overflow-x:auto;
white-space:pre-wrap}
@media(max-width:40rem){body{padding:.6rem .7rem 2rem}h1{font-size:1.3rem}
.tiles{grid-template-columns:repeat(2,1fr)}.states{flex-wrap:wrap}
.stack thead{display:none}.stack,.stack tbody{display:block}
.stack tr{display:block;border-bottom:1px solid var(--grid);padding:.3rem 0}
.stack th,.stack td,.stack td.n{display:block;border:0;text-align:left;min-width:0;
padding:.05rem 0}}
@media print{nav{display:none}section{break-inside:avoid}body{max-width:none}}
del{color:var(--bad);background:var(--bad-back)}ins{color:var(--good);background:var(--good-back)}
"""
