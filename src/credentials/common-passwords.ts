/**
 * What everybody tries first, in lower case: the heads of the lists that leaks have left, and the words that they are made of.
 * Rows, repetitions, and a few digits or signs beside a word are new-password.ts's to see.
 */

const words = `
password passwort passwd passphrase pass1234 passw0rd motdepasse contrasena contraseña senha parola wachtwoord salasana losenord lösenord haslo hasło parol heslo jelszo sifre
welcome welkom willkommen bienvenue bienvenido letmein letmein2 openup opensesame sesame access admin administrator administrador adminadmin root toor rootroot system sysadmin
superuser supervisor manager operator default guest visitor user username test testing tester test1234 testtest demo demodemo sample example temp temporary temppass changeme changeit
change_me changethis please secret secrets topsecret mysecret private login logon signin master masterkey server service support helpdesk office company business computer internet
network wireless database oracle postgres mysql mongodb redis docker jenkins ubuntu debian centos linux windows microsoft google facebook twitter instagram linkedin youtube amazon
netflix spotify samsung android iphone nokia cisco huawei toshiba sony playstation nintendo xbox360 minecraft fortnite roblox pokemon pikachu starcraft warcraft worldofwarcraft diablo
counter counterstrike quake halflife skyrim zelda mario sonic gaming gamer player hacker hacking matrix trinity neo1234 iloveyou iloveu iloveyou2 iloveme ihateyou loveyou loveme
lovely lovers lover forever forever1 always together sweetheart sweety sweetie darling honey honeybee babygirl babyboy baby angel angels angelo princess prince queen kingking beautiful
gorgeous pretty handsome sunshine sunflower moonlight starlight rainbow butterfly flower flowers rosebud orchid lavender daisy jasmine cherry strawberry blueberry raspberry banana orange
apple pineapple peaches cookie cookies chocolate caramel vanilla sugar candy cupcake brownie muffin coffee espresso pepper ginger cinnamon cheese burger pizza spaghetti tequila whiskey
dragon dragons dragonball monkey monkeys tiger tigers lion lions panther panda pandas eagle eagles falcon hawk raven ravens phoenix unicorn wolf wolves wolverine bear bears shark dolphin
dolphins turtle penguin rabbit bunny kitten kitty hellokitty puppy doggie snoopy scooby scoobydoo garfield tweety mickey mickeymouse minnie donald goofy bambi pumpkin peanut
football football1 fussball futbol soccer baseball basketball hockey tennis golfer golf volleyball cricket rugby boxing wrestling karate ninja samurai swimming running cycling skate
skateboard snowboard surfing fishing hunting camping superman batman spiderman ironman wonderwoman catwoman superstar hulk avengers captain america marvel starwars startrek skywalker
jedi yoda vader darthvader chewbacca terminator gandalf hobbit frodo aragorn legolas hogwarts harrypotter gryffindor slytherin dumbledore voldemort sherlock jamesbond bond007 scarface
godfather rockyou rockstar rocknroll metallica nirvana slipknot acdc ironmaiden greenday linkinpark eminem tupac beatles queen elvis madonna shakira rihanna beyonce justin bieber
onedirection michael michael1 jackson jordan jordan23 michelle jennifer jessica ashley amanda nicole daniel daniela andrew anthony joshua matthew robert charlie thomas jonathan
christopher christian christine christina alexander alexandra alejandro alejandra fernando francisco francesca gabriel gabriela sebastian benjamin nicholas nicolas patrick patricia
richard stephanie steven samantha veronica victoria vanessa valentina valentin catherine elizabeth margaret maximilian leonardo lorenzo giovanni giuseppe antonio roberto eduardo
mohammed muhammad ahmed abdullah fatima hannah isabella sophie sophia olivia emily emma charlotte caroline carolina danielle dominique dominic frederik friedrich johannes katharina
katrina natasha natalia svetlana vladimir nikolai sergey dmitry ekaterina barbara maverick hunter hunter2 ranger ranger1 cowboy cowboys rangers yankees redsox lakers chelsea arsenal
liverpool manchester united barcelona realmadrid juventus bayern borussia dortmund schalke hamburg berlin munich muenchen vienna london paris france england scotland ireland germany
deutschland espana italia roma milano napoli brasil brazil argentina mexico canada toronto montreal chicago newyork boston dallas houston phoenix denver seattle atlanta miami florida
california texas hollywood australia sydney melbourne japan tokyo china beijing india mumbai russia moscow ukraine poland polska sweden norway denmark finland holland amsterdam
mercedes ferrari porsche lamborghini maserati mustang camaro corvette challenger chevrolet chevy toyota honda yamaha kawasaki suzuki harley harleydavidson ducati bmwbmw audi volkswagen
freedom justice liberty peace hope faith believe blessed blessing jesus jesus1 jesuschrist christ church heaven lucifer satan demon devil death killer killme assassin murder zombie
vampire shadow shadows midnight darkness twilight thunder lightning storm blizzard hurricane tornado summer summer1 winter spring autumn january february march april june july
august september october november december monday tuesday wednesday thursday friday saturday sunday sommer fruehling herbst montag freitag sonntag holiday christmas birthday halloween
family mother father mommy mummy daddy mama papa brother sister friend friends bestfriend friendship girlfriend boyfriend husband grandma grandpa school college university student
teacher doctor nurse police soldier army marine marines navy airforce pilot captain1 general colonel security secure safety protect whatever nothing something anything everything nobody
somebody trustno1 trustnoone dontknow idontknow forgetit remember forgotten forgot lifesucks fuckyou fuckyou1 fuckoff fucker bitch asshole bullshit shithead pussy sexy sexygirl
hotstuff playboy penthouse biteme blowme bigdaddy bigboy bigdog lucky lucky7 lucky13 winner champion number1 numberone awesome fantastic perfect amazing wonderful excellent success
victory legend legendary genius einstein newton galileo darwin diamond diamonds crystal emerald sapphire ruby pearl silver golden platinum titanium money moneymoney dollar million
millionaire bitcoin ethereum trading crypto rainbow1 purple yellow green orange1 black blackcat blackjack white whitecat redhead blue blueeyes bluesky pinkfloyd
hello hello123 hellohello goodbye goodmorning goodluck goodday howareyou thankyou abc123 abcd1234 abc12345 a1b2c3d4 a1b2c3 aa123456 qwe123 qweasd qweasdzxc qwerty qwerty1 qwertz azerty
asdf asdfgh asdfasdf asdf1234 zxcv zxcvbn 1q2w3e4r 1q2w3e4r5t 1q2w3e 1qaz2wsx 1qazxsw2 q1w2e3r4 q1w2e3r4t5 zaq12wsx zaq1xsw2 qazwsx qazwsxedc 123qwe 123qweasd 123abc qwer1234 1234qwer
12341234 11223344 112233 11112222 12121212 12344321 123321 1234554321 147258369 147852369 159753 159357 1597534682 741852963 789456123 963852741 987654 987654321 9876543210 0123456789
0987654321 13579 135792468 24681012 246813579 31415926 314159265 27182818 01234567 10101010 10203040 20202020 69696969 88888888 12345678910 123456789a 1234567890q a12345678 a123456789
123123 123123123 456456 789789 321321 111222 111222333 121212 131313 101010 55555 666666 696969 777777 654321 5201314 woaini woaini1314 wo123456 iloveyou1 loveyou1 password1 password12
password123 password1234 p@ssword p@ssw0rd pa$$word pa55word passpass passpass1 letmein1 letmein123 welcome1 welcome123 admin123 admin1234 admin@123 root123 test123 guest123 user1234
qwerty123 qwerty12 qwerty1234 qwerty12345 monkey123 dragon123 master123 shadow123 sunshine1 princess1 football123 baseball1 superman1 batman123 michael123 charlie1 ashley123 abcdef
abcdefg abcdefgh abcd123 abcd12345 aaaa1111 aaa111 asd123 asdasd asdasd123 zxczxc zxc123 qqww1122 q123456 q12345678 xxxxxxxx trustme keepout donttouch donotenter noaccess nopassword
mypassword thepassword yourpassword newpassword oldpassword password0 password2 passwords mypass mypass123 pass123 pass12345 pass@123 pass@word1 passme noentry enter entering
cheese1 pepper1 ginger1 maggie maggie1 buster buster1 bailey cooper rocky rocky1 duke max1234 bella lucy molly molly1 sadie sophie1 daisy1 lola coco oreo simba nala shadow1 smokey
samsung1 windows10 windows7 office365 microsoft1 google123 apple123 facebook1 linkedin1 iphone123 internet1 computer1 server123 cisco123 oracle123 raspberrypi raspberry1 ubnt pfsense
gatewarden gateway gatekeeper keycloak authserver production staging development developer devops kubernetes openshift correcthorsebatterystaple
`

export const commonPasswords: ReadonlySet<string> = new Set(words.split(/\s+/).filter((word) => word !== ''))
