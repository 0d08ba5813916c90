	By0J?;4S
@U8L$J$ZE-#S&S3!"4)i+_3AJF?=O)E0551C CLô#Bv%*=2