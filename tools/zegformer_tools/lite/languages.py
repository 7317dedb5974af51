"""German, French and Spanish words for common names.

The text encoder reads English alone, so the vocabulary holds these words with the vectors of the English ones. Words
that are in the vocabulary as English ones are passed over.
"""

WORDS = """
person: Mensch, Person, Leute, Menschen; personne, gens; persona, gente
man: Mann; homme; hombre
woman: Frau; femme; mujer
child: Kind; enfant; niño
boy: Junge; garçon; chico
girl: Mädchen; fille; chica
baby: Säugling; bébé; bebé
face: Gesicht; visage; cara
hair: Haar, Haare; cheveux; pelo, cabello
skin: Haut; peau; piel
animal: Tier, Tiere; animaux; animales
mammal: Säugetier, Säugetiere; mammifère; mamífero
insect: Insekt, Insekten; insecte; insecto
reptile: Reptil; reptiles; reptiles
cat: Katze, Katzen, Kater; chat, chats; gato, gatos
dog: Hund, Hunde; chien, chiens; perro, perros
horse: Pferd, Pferde; cheval, chevaux; caballo, caballos
cow: Kuh, Kühe, Rind; vache, vaches; vaca, vacas
sheep: Schaf, Schafe; mouton, moutons; oveja, ovejas
goat: Ziege; chèvre; cabra
pig: Schwein; cochon; cerdo
bird: Vogel, Vögel; oiseau, oiseaux; pájaro, pájaros
duck: Ente; canard; pato
chicken: Huhn; poulet; pollo
fish: Fisch; poisson; pez, pescado
elephant: Elefant; éléphant; elefante
bear: Bär; ours; oso
giraffe: ; girafe; jirafa
zebra: ; zèbre; cebra
lion: Löwe; lion; león
monkey: Affe; singe; mono
rabbit: Hase, Kaninchen; lapin; conejo
butterfly: Schmetterling; papillon; mariposa
vehicle: Fahrzeug, Fahrzeuge; véhicule, véhicules; vehículo, vehículos
car: Auto, Autos; voiture, voitures; coche, coches
bus: Autobus; autobus; autobús
truck: Lastwagen, LKW; camion; camión
train: Zug, Eisenbahn; train; tren
airplane: Flugzeug; avion; avión
boat: Boot, Schiff; bateau; barco
bicycle: Fahrrad; vélo, bicyclette; bicicleta
motorcycle: Motorrad; moto; motocicleta
traffic light: Ampel; feu de circulation; semáforo
bridge: Brücke; pont; puente
railroad: Gleis, Schienen; chemin de fer; vía
road: Straße; route; carretera
pavement: Gehweg, Bürgersteig; trottoir; acera
furniture: Möbel; meuble, meubles; mueble, muebles
building: Gebäude; bâtiment; edificio
house: Haus; maison; casa
roof: Dach; toit; techo, tejado
wall: Wand, Mauer; mur; pared, muro
floor: Boden, Fußboden; plancher; suelo
ceiling: Zimmerdecke; plafond; cielo raso
window: Fenster; fenêtre; ventana
door: Tür; porte; puerta
stairs: Treppe; escalier; escalera
fence: Zaun; clôture; valla
sky: Himmel; ciel; cielo
cloud: Wolke, Wolken; nuage, nuages; nube, nubes
sun: Sonne; soleil; sol
water: Wasser; eau; agua
sea: Meer; mer; mar
river: Fluss; rivière; río
lake: See; lac; lago
beach: Strand; plage; playa
sand: ; sable; arena
snow: Schnee; neige; nieve
mountain: Berg, Berge; montagne; montaña
rock: Fels, Felsen, Stein; rocher; roca, piedra
grass: Gras, Wiese; herbe; hierba, césped
tree: Baum, Bäume; arbre, arbres; árbol, árboles
bush: Busch; buisson; arbusto
flower: Blume, Blumen; fleur, fleurs; flor, flores
plant: Pflanze, Pflanzen; plante, plantes; planta, plantas
potted plant: Topfpflanze; plante en pot; maceta
forest: Wald; forêt; bosque
leaf: Blatt; feuille; hoja
table: Tisch; ; mesa
dining table: Esstisch; table à manger; mesa de comedor
chair: Stuhl; chaise; silla
sofa: ; canapé; sofá
bed: Bett; lit; cama
cabinet: Schrank; armoire; armario
shelf: Regal; étagère; estante
lamp: Lampe; lampe; lámpara
mirror: Spiegel; miroir; espejo
curtain: Vorhang; rideau; cortina
rug: Teppich; tapis; alfombra
pillow: Kissen; oreiller; almohada
blanket: Bettdecke; couverture; manta
towel: Handtuch; serviette; toalla
tv: Fernseher; télévision; televisor
book: Buch, Bücher; livre, livres; libro, libros
clock: Uhr; horloge; reloj
bottle: Flasche; bouteille; botella
cup: Tasse; tasse; taza
wine glass: Weinglas; verre à vin; copa
bowl: Schüssel; bol; cuenco
plate: Teller; assiette; plato
knife: Messer; couteau; cuchillo
fork: Gabel; fourchette; tenedor
spoon: Löffel; cuillère; cuchara
food: Essen, Lebensmittel; nourriture; comida
bread: Brot; pain; pan
cheese: Käse; fromage; queso
apple: Apfel, Äpfel; pomme, pommes; manzana
banana: Banane; banane; plátano
orange: Apfelsine; ; naranja
fruit: Obst; fruits; fruta
vegetable: Gemüse; légumes; verdura
tomato: Tomate; tomate; tomate
carrot: Karotte, Möhre; carotte; zanahoria
cake: Kuchen; gâteau; pastel
umbrella: Regenschirm; parapluie; paraguas
tool: Werkzeug; outil, outils; herramienta
musical instrument: Musikinstrument; instrument de musique; instrumento musical
bag: Tasche; sac; bolso
suitcase: Koffer; valise; maleta
ball: Ball; balle, ballon; pelota
phone: Telefon; téléphone; teléfono
cell phone: Handy; téléphone portable; móvil
clothing: Kleidung; vêtements; ropa
shoes: Schuhe; chaussures; zapatos
boots: Stiefel; bottes; botas
dress: Kleid; robe; vestido
skirt: Rock; jupe; falda
pants: Hose; pantalon; pantalón, pantalones
jeans: ; ; vaqueros
shirt: Hemd; chemise; camisa
coat: Mantel; manteau; abrigo
jacket: Jacke; veste; chaqueta
sweater: Pullover; pull; jersey
hat: Hut; chapeau; sombrero
scarf: Schal; écharpe; bufanda
gloves: Handschuhe; gants; guantes
belt: Gürtel; ceinture; cinturón
glasses: Brille; lunettes; gafas
sunglasses: Sonnenbrille; lunettes de soleil; gafas de sol
socks: Socken; chaussettes; calcetines
"""


def translations(english: set[str]) -> dict[str, str]:
    """Foreign word, in lower case -> English name; none of `english`, and none twice (the first name has it)."""
    found: dict[str, str] = {}
    for line in WORDS.strip().splitlines():
        name, words = line.split(":")
        for word in words.lower().replace(";", ",").split(","):
            if word.strip() and word.strip() not in english:
                found.setdefault(word.strip(), name)
    return found
