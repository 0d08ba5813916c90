By0JxÂuýBëÑIC=ŠTCëQ¸A B{BBˆC…÷B®æBÌÌaB¸ÞCÌÌÿB¤pÃBp=B…+vC{ôC)\=C\OkCp=SB
×¨Bö¨C
vC…k	CR¸@B{”QC{”€CÍŒAC\>Bp½^C
—C