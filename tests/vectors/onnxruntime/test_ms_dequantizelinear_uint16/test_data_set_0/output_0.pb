By0Jx¤ð"CázµBºB…Ë…Cë‘C33ýBÂµ|C=J@C¤ð×B{4ƒCÂÂBp=ˆB×CŽC®ÇÞBN‹CGá Böh'Cáz¤B¤ðæBp}’CÍÌ¢ABŠB×#†C¤p-BR8XC¸ÞlC{Ô
C™™Y?3ó`CEC