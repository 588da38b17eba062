"""Formats of service keys, as the services document them."""

from __future__ import annotations

import re

SERVICES = r"""
hf_[A-Za-z0-9]{16,} api_org_[A-Za-z0-9]{16,} KGAT_[A-Za-z0-9]{16,} wandb_v1_\w{16,}
gh[pousr]_[A-Za-z0-9]{16,} github_pat_\w{16,}
gl(?:pat|ptt|dt|rt|rtr|cbt|soat|agent|oas|ft|imt|ffct)-[\w-]{16,}
sk-(?:proj|ant|or|svcacct|admin|lf|ws|None)-[\w-]{16,} sk-(?=[A-Za-z]*\d)[A-Za-z0-9]{16,}
(?:gsk|r8|fw|ntn|lin_api|phc|phx|dckr_pat|shp(?:at|ss|ca|pa))_(?=[A-Za-z]*\d)[\w-]{20,}
(?:sbp|nfp|rpa|e2b|jina|figd|sgp|rubygems|csb_v1|fo1|esecret|secret|y0)_(?=[A-Za-z-]*\d)[\w-]{30,}
(?:xai|pplx|nvapi|tvly|llx|fc|pa|key|pul|ops|vcp)-(?=[\w-]*\d)[\w-]{20,} lsv2_\w{20,} pcsk_\w{20,}
tgp_v1_[\w-]{20,} pscale_(?:tkn|pw|oauth)_[\w.-]{20,} dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{20,}
(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,} whsec_[A-Za-z0-9+/]{16,} dapi[a-f0-9]{32}
do[opr]_v1_\w{16,}
(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9]) AIza[\w-]{30,} ya29\.[\w-]{16,} GOCSPX-[\w-]{16,}
xox[abeposr]-[\w-]{10,} xapp-[\w-]{10,} hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]+
discord(?:app)?\.com/api/webhooks/\d+/[\w-]+ \d{8,10}:AA[\w-]{30,}
[MNO][A-Za-z\d_-]{23,27}\.[\w-]{6}\.[\w-]{27,} webhook\.office\.com/webhookb2/[\w@/-]{30,}
npm_[A-Za-z0-9]{16,} pypi-AgEI[\w-]{16,} SG\.[\w-]{16,}\.[\w-]{16,} hv[sbr]\.[\w-]{20,}
[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,} pat[A-Za-z0-9]{14}\.[a-f0-9]{64} AT[AC]TT3[\w=-]{50,}
sq0(?:csp|atp)-[\w-]{20,} EAA[A-Z][A-Za-z0-9_-]{40,} gl(?:sa|c)_[\w=+/]{30,} sntry[su]_[\w=+/]{30,}
NRAK-[A-Z0-9]{20,} LTAI[A-Za-z0-9]{16,20} SK[a-f0-9]{32} [a-f0-9]{32}-us\d{1,2} PMAK-[a-f0-9-]{50,}
\w{3}\dQ~[\w~.-]{31,34} dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64} EZ[AT]K[A-Za-z0-9]{50,} CFPAT-[\w-]{40,}
tskey-[\w-]{16,} AGE-SECRET-KEY-1[A-Z0-9]{16,} eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=]{16,} FlyV1\sfm\d_[\w+/=-]{20,} ABSK[A-Za-z0-9+/=]{60,}
"""
# Not inside of a longer word; the sign of a diff line and "\\n" in JSON are no part of a word.
KNOWN = re.compile(rf"(?:(?<=\\n)|(?<!\w)(?<!\w-))(?:{'|'.join(SERVICES.split())})")
ARMOUR = r"-----{} [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
PRIVATE = re.compile(
    rf"{ARMOUR.format('BEGIN')}(?:(?:(?!-----BEGIN)[^_*{{}}\[\]])*?{ARMOUR.format('END')}"
    r"|(?:[\s\\\"',+-]*[A-Za-z0-9+/=]{16,})++)"
)
# A private key of PuTTY.
PUTTY = re.compile(r"(?<=Private-Lines: )\d+(?:\s+[A-Za-z0-9+/=]{16,})++")
BODY = re.compile(r"[A-Za-z0-9+/=]{16}")
