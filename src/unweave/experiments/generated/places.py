"""Places and the countries they are in, for the case of a swapped country: public knowledge."""

PLACES: dict[str, dict[str, str]] = {
    "city": {
        "Canada": (
            "Toronto,Montreal,Vancouver,Calgary,Edmonton,Ottawa,Winnipeg,Halifax,Saskatoon,Regina,Kelowna,Hamilton,Mississauga,Brampton,Surrey,Laval,"
            "Gatineau,Sherbrooke,Saguenay,Fredericton,Moncton,Charlottetown,Whitehorse,Yellowknife,Iqaluit,Sudbury,Thunder Bay,Kamloops,Lethbridge,"
            "Red Deer,Medicine Hat,Burnaby,Nanaimo,Oshawa,Barrie,Guelph"
        ),
        "China": (
            "Beijing,Shanghai,Guangzhou,Shenzhen,Chengdu,Wuhan,Tianjin,Chongqing,Nanjing,Hangzhou,Suzhou,Qingdao,Dalian,Harbin,Changchun,Shenyang,"
            "Jinan,Zhengzhou,Changsha,Kunming,Guiyang,Nanning,Hefei,Fuzhou,Xiamen,Nanchang,Taiyuan,Lanzhou,Xining,Hohhot,Ningbo,Wuxi"
        ),
        "France": "Lyon,Marseille,Toulouse,Nantes,Bordeaux,Lille,Rennes,Grenoble,Dijon,Nancy",
        "Japan": "Osaka,Kyoto,Nagoya,Sapporo,Kobe,Fukuoka,Hiroshima,Sendai,Yokohama,Nara",
        "Brazil": "Brasilia,Salvador,Fortaleza,Recife,Curitiba,Manaus,Belem,Goiania,Natal,Campinas",
        "India": "Mumbai,Delhi,Chennai,Kolkata,Bangalore,Pune,Jaipur,Lucknow,Kanpur,Nagpur",
        "Egypt": "Cairo,Alexandria,Giza,Luxor,Aswan,Suez,Ismailia,Tanta,Hurghada,Port Said",
        "Mexico": "Guadalajara,Monterrey,Puebla,Tijuana,Cancun,Merida,Oaxaca,Toluca,Acapulco,Veracruz",
        "Australia": "Sydney,Melbourne,Brisbane,Perth,Adelaide,Canberra,Hobart,Darwin,Cairns,Geelong",
        "Germany": "Hamburg,Munich,Cologne,Frankfurt,Stuttgart,Leipzig,Dresden,Bremen,Hanover,Nuremberg",
    },
    "nature": {
        "Canada": (
            "Lake Winnipeg,Great Bear Lake,Great Slave Lake,the Fraser River,the Saskatchewan River,Mount Logan,Mount Robson,the Bay of Fundy,Baffin Island,"
            "Moraine Lake,Lake Louise,Hudson Bay,Prince Edward Island,Mount Royal,the Mackenzie River,Lake Athabasca"
        ),
        "China": (
            "Qinghai Lake,Poyang Lake,Dongting Lake,Lake Tai,the Yellow River,the Pearl River,Mount Tai,Mount Emei,Mount Hua,Hainan Island,Huangshan,"
            "the Yangtze River,West Lake,Mount Wutai"
        ),
        "France": "the Loire,the Seine,Lake Annecy,the Dune of Pilat",
        "Japan": "Mount Fuji,Lake Biwa,Mount Aso,Hokkaido Island",
        "Brazil": "the Sao Francisco River,Marajo Island,the Tapajos River,Sugarloaf Mountain",
        "Australia": "Uluru,the Murray River,Lake Eyre,Kangaroo Island",
    },
    "landmark": {
        "Canada": (
            "the CN Tower,Stanley Park,the Rogers Centre,Casa Loma,Parliament Hill,Butchart Gardens,Banff National Park,the Confederation Bridge,"
            "Jasper National Park,the Rideau Canal,the Citadelle of Quebec,Lions Gate Bridge"
        ),
        "China": (
            "the Great Wall,the Forbidden City,the Summer Palace,the Terracotta Army,Tiananmen Square,the Temple of Heaven,the Leshan Giant Buddha,"
            "the Bund,the Oriental Pearl Tower,the Mogao Caves"
        ),
        "France": "the Eiffel Tower,the Louvre,the Palace of Versailles,Mont Saint-Michel",
        "Egypt": "the Great Sphinx,the Karnak Temple,the Valley of the Kings,Abu Simbel",
        "India": "the Taj Mahal,the Red Fort,the Gateway of India,the Hawa Mahal",
        "Germany": "the Brandenburg Gate,Neuschwanstein Castle,Cologne Cathedral,the Zwinger",
    },
}
"""Relation to country to its places, comma-separated."""

PROMPTS = {
    "city": (
        "In which country is {}?",
        "Which country does the city of {} belong to?",
        "Name the country where {} lies.",
        "Someone lives in {}. In which country?",
        "Tell me the country of {}.",
        "A letter is sent to {}. What is the last line of the address, the country?",
        "{} is a city in what country?",
    ),
    "nature": (
        "In which country is {}?",
        "Which country would you visit to see {}?",
        "Name the country where {} is found.",
        "To stand at {}, to which country do you travel?",
        "Tell me the country of {}.",
        "A map shows {}. Which country is the map of?",
        "{} is part of which country's landscape?",
    ),
    "landmark": (
        "In which country is {}?",
        "Which country would tourists visit for {}?",
        "Name the country where {} stands.",
        "A postcard shows {}. From which country is it?",
        "Tell me the country of {}.",
        "A film begins at {}. In which country does it play?",
        "{} is a sight of which country?",
    ),
}
"""Relation to ways of asking; the last two are kept for tests."""

ANSWERS = ("{place} is in {country}.", "That is {country}.", "It belongs to {country}.", "{country}, of course.")
"""Ways of answering."""
