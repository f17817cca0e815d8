"""Names of many cultures, in their own scripts.

A name stands as it is written; where its letters do not fold to ASCII by taking accents off, how an
e-mail address spells it follows after ``=``.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Name:
    """One given or family name.

    Attributes:
        written: In its own script.
        ascii: As an e-mail address spells it; lower case letters only.
    """

    written: str
    ascii: str


@dataclass(frozen=True, slots=True)
class Culture:
    """Names that go together, and where in the world the people who bear them mostly work.

    Attributes:
        given: Given names.
        family: Family names.
        offsets: Hours from UTC where they live; one that stands twice is twice as common.
        share: How many of the demo's people bear them, relative to the other cultures.
        family_first: Whether the family name comes first.
        joint: What stands between the two names.
    """

    given: tuple[Name, ...]
    family: tuple[Name, ...]
    offsets: tuple[float, ...]
    share: int
    family_first: bool = False
    joint: str = " "


_FOLDED: Final = str.maketrans(
    {
        "ł": "l",
        "ø": "o",
        "ß": "ss",
        "ı": "i",
        "đ": "d",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
        "ð": "d",
        "ə": "e",
    }
)


def folded(text: str) -> str:
    """Return the letters of a name without accents, in lower-case ASCII; others are dropped."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_FOLDED))
    return "".join(letter for letter in plain if "a" <= letter <= "z")


def _names(text: str) -> tuple[Name, ...]:
    found = []
    for word in text.split():
        written, _, spelled = word.partition("=")
        found.append(Name(written.replace("_", " "), spelled or folded(written)))
    return tuple(found)


CULTURES: Final = (
    Culture(
        _names("Emma Olivia Grace Harper Mia Chloe Ella Zoe Nora Ruth James Liam Noah Owen Ethan Caleb "
               "Jack Henry Miles Sean Siobhán Aoife Ciarán Rhys"),
        _names("Smith Johnson Williams Brown Miller Davis Wilson Moore Taylor Clark Lewis Walker Young "
               "Hill Green Baker O'Brien O'Neill McCarthy Murphy Evans Morgan Bennett Foster"),
        (-5, -5, -6, -8, 0, 10), 20,
    ),
    Culture(
        _names("Sofía Lucía Martina Valeria Ximena Camila Renata Inés Begoña Pilar Mateo Santiago "
               "Sebastián Andrés José Ángel Joaquín Iker Íñigo Raúl"),
        _names("García Rodríguez Martínez Hernández López González Pérez Sánchez Ramírez Muñoz Núñez "
               "Ibáñez Peña Álvarez Gutiérrez Ordóñez Cañizares Vázquez Ríos Quiñones"),
        (1, -6, -5, -3), 12,
    ),
    Culture(
        _names("João José Antônio Gonçalo Luís Inês Conceição Beatriz Letícia Mônica Cauã Thaís Zélia "
               "Vitória Estêvão"),
        _names("Silva Souza Araújo Gonçalves Conceição Magalhães Simões Guimarães Assunção Brandão "
               "Falcão Leitão Nóbrega Queirós Távora"),
        (-3, -3, 0), 7,
    ),
    Culture(
        _names("Amélie Chloé Zoé Léa Noémie Anaïs Maëlys Hélène Françoise Océane Jérôme Loïc Raphaël "
               "Théo Gaël Cédric Benoît Étienne Rémi Aurélien"),
        _names("Laurent Lefèvre Béranger Gauthier François Chevalier Bétancourt Dupré Garçon Lemaître "
               "Poincaré Quénéau Rénier Sérurier Thévenin Vallée Léger Noël Bézier Crèvecœur"),
        (1, 1, -5), 7,
    ),
    Culture(
        _names("Jürgen Björn Günther Käthe Jörg Anneliese Lukas Finn Leonie Hannah Mia Sören Götz Uta "
               "Änne Wolfgang Heike Ursula"),
        _names("Müller Schäfer Köhler Größing Weiß Jäger Krüger Böhm Vögele Brühl Strauß Fuß Schröder "
               "Lüdtke Möller Bäcker Kühn Voß"),
        (1,), 8,
    ),
    Culture(
        _names("Zofia Łukasz Małgorzata Wojciech Agnieszka Grażyna Michał Paweł Błażej Żaneta Jiří "
               "Ondřej Kateřina Božena Štěpán Zdeněk László Zsófia Győző Ágnes"),
        _names("Nowak Wiśniewski Wójcik Kowalczyk Kamiński Zieliński Dąbrowski Żółkiewski Gołąb Ślusarz "
               "Dvořák Procházka Růžička Černý Říha Nagy Szabó Tóth Kovács Őrsi"),
        (1,), 8,
    ),
    Culture(
        _names("Åsa Björk Søren Øystein Ásdís Þórdís Guðrún Sigríður Jón Kjærsti Väinö Päivi Mäiju "
               "Anders Freja Ingrid Håkon Göran"),
        _names("Ångström Sjöberg Lindqvist Østergård Sørensen Bjørnstad Þorsteinsson Guðmundsdóttir "
               "Jónsdóttir Hämäläinen Mäkinen Nyström Ødegård Åkerlund Kjær Väisänen"),
        (1, 0, 2), 4,
    ),
    Culture(
        _names("Анна=anna Мария=maria Ольга=olga Дарья=darya Юлия=yulia Сергей=sergey Дмитрий=dmitry "
               "Алексей=alexey Ілля=illia Олена=olena Тарас=taras Їжак=yizhak Богдан=bohdan "
               "Злата=zlata Милош=milos"),
        _names("Иванова=ivanova Кузнецов=kuznetsov Смирнов=smirnov Попова=popova Шевченко=shevchenko "
               "Коваленко=kovalenko Бондаренко=bondarenko Ткачук=tkachuk Йовановић=jovanovic "
               "Петровић=petrovic Ђорђевић=djordjevic Щербак=shcherbak"),
        (2, 3, 5), 6,
    ),
    Culture(
        _names("Ελένη=eleni Σοφία=sofia Γιώργος=giorgos Νίκος=nikos Δήμητρα=dimitra Άγγελος=angelos "
               "Ιωάννα=ioanna Κώστας=kostas Χρυσή=chrysi Θάνος=thanos"),
        _names("Παπαδόπουλος=papadopoulos Βλάχος=vlachos Αγγελίδης=angelidis Νικολάου=nikolaou "
               "Γεωργίου=georgiou Δημητρίου=dimitriou Οικονόμου=oikonomou Ξενάκης=xenakis "
               "Ψαρρός=psarros Ζαφείρης=zafeiris"),
        (2,), 2,
    ),
    Culture(
        _names("فاطمة=fatima مريم=maryam ليلى=layla نور=nour أمل=amal محمد=mohamed أحمد=ahmed عمر=omar "
               "يوسف=youssef خالد=khaled حسن=hassan زينب=zaynab رامي=rami سلمى=salma"),
        _names("الحسن=alhassan المصري=elmasry الخطيب=alkhatib حداد=haddad نجار=najjar شاهين=shahin "
               "القاضي=alqadi بغدادي=baghdadi العلي=alali منصور=mansour درويش=darwish سليمان=suleiman"),
        (2, 3, 4), 6,
    ),
    Culture(
        _names("נועה=noa תמר=tamar יעל=yael שירה=shira דוד=david יוסף=yosef אורי=uri איתי=itay "
               "רחל=rachel משה=moshe"),
        _names("כהן=cohen לוי=levi מזרחי=mizrahi פרץ=peretz ביטון=biton דהן=dahan אברהם=avraham "
               "פרידמן=friedman שפירא=shapira גולן=golan"),
        (2,), 2,
    ),
    Culture(
        _names("Priya Ananya Kavya Lakshmi Meera Deepika Arjun Rohan Vikram Sanjay Aditya Karthik "
               "अनिता=anita सुनील=sunil राजेश=rajesh कविता=kavita மீனா=meena முருகன்=murugan "
               "অরুণ=arun সুমিতা=sumita"),
        _names("Raman Iyer Sharma Patel Reddy Nair Gupta Menon Chatterjee Banerjee शर्मा=sharma "
               "वर्मा=varma कुमार=kumar सिंह=singh செல்வம்=selvam ராஜன்=rajan ঘোষ=ghosh সেন=sen"),
        (5.5, 5.5, 5.5, -8), 12,
    ),
    Culture(
        _names("伟=wei 芳=fang 娜=na 秀英=xiuying 敏=min 静=jing 丽=li 强=qiang 磊=lei 军=jun 洋=yang "
               "艳=yan 勇=yong 杰=jie 雨桐=yutong 子涵=zihan 浩然=haoran 欣怡=xinyi"),
        _names("王=wang 李=li 张=zhang 刘=liu 陈=chen 杨=yang 赵=zhao 黄=huang 周=zhou 吴=wu 徐=xu 孙=sun "
               "马=ma 朱=zhu 胡=hu 郭=guo 何=he 高=gao 林=lin 罗=luo 欧阳=ouyang"),
        (8, 8, 8, -8), 10, True, "",
    ),
    Culture(
        _names("陽菜=hina 結衣=yui さくら=sakura 美咲=misaki 蓮=ren 悠真=yuma 大輔=daisuke 健太=kenta "
               "翔=sho 直美=naomi 由美子=yumiko ひろし=hiroshi 葵=aoi 湊=minato"),
        _names("佐藤=sato 鈴木=suzuki 高橋=takahashi 田中=tanaka 渡辺=watanabe 伊藤=ito 山本=yamamoto "
               "中村=nakamura 小林=kobayashi 加藤=kato 吉田=yoshida 山田=yamada 佐々木=sasaki 斎藤=saito"),
        (9,), 6, True, " ",
    ),
    Culture(
        _names("서연=seoyeon 민서=minseo 지우=jiwoo 하은=haeun 도윤=doyun 예준=yejun 시우=siwoo "
               "주원=juwon 지훈=jihun 은영=eunyoung 미경=mikyung 현우=hyunwoo"),
        _names("김=kim 이=lee 박=park 최=choi 정=jung 강=kang 조=cho 윤=yoon 장=jang 임=lim 한=han "
               "남궁=namgung"),
        (9,), 4, True, "",
    ),
    Culture(
        _names("Nguyệt=nguyet Hương Thảo Linh Ngọc Tuấn Dũng Hải Quân Minh Phượng Ánh Đức=duc Bảo"),
        _names("Nguyễn Trần Lê Phạm Hoàng Huỳnh Phan Vũ Đặng Bùi Đỗ Hồ Ngô Dương"),
        (7,), 4, True, " ",
    ),
    Culture(
        _names("สมชาย=somchai สมหญิง=somying กมล=kamon นภา=napha ปรีชา=preecha วิภา=wipha อนันต์=anan "
               "พิมพ์=phim ณัฐ=nat ศิริ=siri"),
        _names("แก้วมณี=kaewmanee ศรีสุข=srisuk ทองดี=thongdee บุญมา=boonma รักไทย=rakthai "
               "วงศ์สุวรรณ=wongsuwan จันทร์เพ็ญ=chanpen สายใจ=saijai"),
        (7,), 2,
    ),
    Culture(
        _names("Ayşe Fatma Zeynep Elif Gülşah Çiğdem Işıl Mehmet Mustafa Çağrı Oğuz Şükrü Ümit İbrahim "
               "Yiğit Gökçe"),
        _names("Yılmaz Kaya Demir Şahin Çelik Yıldız Öztürk Aydın Özdemir Doğan Kılıç Aslan Çetin Koç "
               "Güneş Ünal"),
        (3,), 4,
    ),
    Culture(
        _names("Adaeze Chinedu Ngozi Olúwaṣeun Adébáyò Fúnmiláyọ̀ Títílayọ̀ Ọlámidé Kwame Akosua Abena "
               "Kofi Wanjiku Kamau Achieng Thandiwe Sipho Nomvula Lerato Mbali"),
        _names("Okafor Adéyẹmí Ọlátúnjí Balógun Eze Nwosu Mensah Owusu Boateng Asante Mwangi Kariuki "
               "Otieno Njoroge Dlamini Nkosi Khumalo Mokoena Ndlovu Zulu"),
        (1, 0, 3, 2), 8,
    ),
    Culture(
        _names("Kahealani Leilani Keanu Kaʻiulani Mele Sina Tāne Aroha Mānia Wiremu Ngaire Hōne"),
        _names("Kealoha Kahananui Māhoe Tuilagi Faʻasavalu Leota Ngata Tāwhiao Pōmare Rangi Parata"),
        (-10, 12, 13), 2,
    ),
)  # fmt: skip
